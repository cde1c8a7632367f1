"""How soon the event loop gets the interpreter back from a thread."""

import sys

from kissvdb.engine.threads import switching


def test_the_least_that_is_asked_for_holds_and_the_usual_comes_back() -> None:
    usual = sys.getswitchinterval()
    with switching.within(usual / 4):
        assert sys.getswitchinterval() == usual / 4
        with switching.within(usual / 8):
            switching.ask(usual / 2)
            assert sys.getswitchinterval() == usual / 8
        # Whoever came first may leave last, or the other way round.
        assert sys.getswitchinterval() == usual / 4
    assert sys.getswitchinterval() == usual / 2
    switching.give_back(usual / 2)
    assert sys.getswitchinterval() == usual
