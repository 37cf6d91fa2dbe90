"""An interrupt that comes out as another error."""
import subprocess
import sys

from dalf_ros.nodes.quiet_start import comes_of_interrupt


def error_of(cause: BaseException) -> Exception:
    """As the import of a compiled module ends."""
    try:
        raise ImportError("initialization failed") from cause
    except ImportError as error:
        return error


def test_an_import_error_that_a_ctrl_c_led_to() -> None:
    assert comes_of_interrupt(error_of(KeyboardInterrupt())) and comes_of_interrupt(error_of(error_of(KeyboardInterrupt())))
    assert not comes_of_interrupt(error_of(ValueError())) and not comes_of_interrupt(None)
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError from None        # hidden from view, but known
    except RuntimeError as error:
        assert comes_of_interrupt(error)


def test_a_second_ctrl_c_finds_no_gap() -> None:
    """The first raises KeyboardInterrupt; the next, before anything has caught that, does nothing."""
    program = ("import os, signal\nfrom dalf_ros.nodes.quiet_start import interrupt_once\n"
               "def interrupt(): os.kill(os.getpid(), signal.SIGINT)\n"
               "interrupt_once()\n"
               "try:\n    interrupt()\nexcept KeyboardInterrupt:\n    interrupt()\n    print('stopped')\n")
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "stopped\n", "")
