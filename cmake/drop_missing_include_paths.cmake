# ROS packages from Python wheels export include paths of the machine that built them (/opt/python/...), and CMake
# refuses an imported target that names a folder which does not exist. The names are dropped here. On a
# ROS installed by the system every folder exists and nothing changes.

function(_drop_missing_include_paths)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(paths ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT paths)
      continue()
    endif()
    set(kept "")
    foreach(path IN LISTS paths)
      # Generator expressions are for CMake to judge.
      if(path MATCHES "\\$<" OR EXISTS "${path}")
        list(APPEND kept "${path}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()

# The targets appear while CMakeLists.txt is read, some of them as late as in ament_package().
macro(drop_missing_include_paths_at_end)
  cmake_language(DEFER CALL _drop_missing_include_paths)
endmacro()
