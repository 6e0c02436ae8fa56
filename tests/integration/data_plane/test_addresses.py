"""Proxies, and an address that changes."""

from tests.support.harness import Controllers


def test_an_address_may_change_to_one_that_has_the_old_one_in_it(
    controllers: Controllers,
) -> None:
    controller = controllers(PROXIES=2).with_users().up()
    controller.deploy("stub-1")
    controller.kill()
    # The proxies of the old address live, and listen on the same port.
    assert controller.predict("stub-1").status_code == 200
    controller.up(HOST="0.0.0.0")
    assert controller.predict("stub-1").status_code == 200
