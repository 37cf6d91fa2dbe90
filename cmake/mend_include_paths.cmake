# Two include paths that CMake refuses when ROS comes from Python wheels. On a ROS installed by the system there is neither.
#
# 1. The wheels' targets name folders of the machine that built them (/opt/python/...), which do not exist here: dropped.
# 2. With a virtual environment inside the source folder, the generated Python extension exports NumPy's headers from
#    there: kept for the build, not exported.

function(_mend_include_paths)
  get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
  get_property(built DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS imported built)
    get_target_property(paths ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT paths)
      continue()
    endif()
    set(mended "")
    foreach(path IN LISTS paths)
      string(FIND "${path}" "${CMAKE_CURRENT_SOURCE_DIR}/" position)
      if(target IN_LIST built AND position EQUAL 0)
        list(APPEND mended "$<BUILD_INTERFACE:${path}>")
      elseif(path MATCHES "\\$<" OR target IN_LIST built OR EXISTS "${path}")
        list(APPEND mended "${path}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${mended}")
  endforeach()
endfunction()

# The targets appear while CMakeLists.txt is read, some of them as late as in ament_package().
macro(mend_include_paths_at_end)
  cmake_language(DEFER CALL _mend_include_paths)
endmacro()
