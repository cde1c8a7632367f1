"""Epochs: whether a place is one of this history, and where else to go on."""

import pytest

from kissvdb.epochs import OFFSET_MAX, Boundary, Epochs, Gap, floor_above, offset_before

NOW_MS = 1_795_000_000_000
RESTORED = Epochs("b", 1000, (Boundary("a", 15, 1000),))


@pytest.mark.parametrize(
    ("since", "epoch", "head", "expected"),
    [
        # What both histories share is bridged, whoever says so.
        (0, None, 1075, (0, None)),
        (10, "a", 1075, (10, None)),
        (15, "a", 1075, (1000, None)),
        (15, None, 15, (1000, None)),
        # A place of the future that is lost.
        (65, None, 1075, (1000, Gap(16, 1000, "epoch", 1000))),
        (65, "a", 1075, (1000, Gap(16, 1000, "epoch", 1000))),
        (999, None, 15, (1000, Gap(16, 1000, "epoch", 1000))),
        (1005, "a", 1075, (1000, Gap(16, 1005, "epoch", 1000))),
        # The gap's own id, and what follows it.
        (1000, None, 15, (1000, None)),
        (1005, "b", 1075, (1005, None)),
        (1076, "b", 1075, (1075, Gap(1076, 1076, "ahead", 1075))),
        # A history that nobody here has heard of.
        (1005, "x", 1075, (1000, Gap(1, 1005, "epoch", 1000))),
        (65, "x", 1075, (1000, Gap(1, 1000, "epoch", 1000))),
        (0, "x", 1075, (0, None)),
    ],
)
def test_a_place_is_bridged_or_told_apart(since, epoch, head, expected):
    assert RESTORED.place(since, epoch, head) == expected


def test_a_new_database_tells_a_stranger_by_its_epoch_and_goes_on_from_the_beginning():
    assert Epochs("n").place(5, "x", 75) == (0, Gap(1, 5, "epoch", 0))
    assert Epochs("n").place(5, None, 75) == (5, None)


def test_offsets_that_were_skipped_within_an_epoch_are_nobodys_place():
    epochs = Epochs("a", 0, (Boundary("", 15, 20),))
    assert epochs.place(17, "a", 30) == (20, Gap(16, 20, "epoch", 20))
    assert epochs.place(14, "a", 30) == (14, None)


def test_a_floor_is_above_whatever_was_given_away_before_now():
    assert floor_above(15, NOW_MS) == NOW_MS * 2048
    assert floor_above(15, NOW_MS + 1) > floor_above(15, NOW_MS) + 2000
    assert floor_above(15, NOW_MS) < OFFSET_MAX


@pytest.mark.parametrize("now_ms", [-5, 0, 2**50])
def test_a_floor_is_far_above_the_head_whatever_the_clock_says(now_ms):
    for head in (0, 15, 2**32 - 1, 2**52):
        assert head + 2**32 < floor_above(head, now_ms) <= OFFSET_MAX


def test_two_epochs_that_begin_in_one_hour_after_the_same_head_do_not_meet():
    head = floor_above(15, NOW_MS) + 7
    assert floor_above(head, NOW_MS + 60_000) == floor_above(head, NOW_MS + 59_000) + 2048 * 1000


def test_skipped_offsets_are_no_distance():
    boundaries = (Boundary("a", 15, 1000), Boundary("b", 1010, 5000))
    assert offset_before(5010, 5, boundaries) == 5005
    assert offset_before(5010, 10, boundaries) == 5000
    assert offset_before(5010, 11, boundaries) == 1009
    assert offset_before(5010, 21, boundaries) == 14
