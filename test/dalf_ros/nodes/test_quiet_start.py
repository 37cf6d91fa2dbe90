"""An interrupt that comes out as another error."""
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
