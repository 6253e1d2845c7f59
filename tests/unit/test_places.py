"""kernel/places.py: units, containers and terminals, from what the kernel says; and names made to deceive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proc_cache.kernel.places import parse_cgroup, tty_name

ID = "3f2a" + "0123456789ab" * 5
OTHER = "beef" + "ba9876543210" * 5
SHORT = ID[:12]


def parse(*lines: str) -> tuple[str, str]:
    return parse_cgroup("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def of_path(path: str) -> tuple[str, str]:
    """On a machine with cgroup v2 alone."""
    return parse(f"0::{path}")


UNITS = {
    "/": "",
    "/init.scope": "init.scope",
    "/system.slice/ssh.service": "ssh.service",
    "/system.slice/system-getty.slice/getty@tty1.service": "getty@tty1.service",
    "/system.slice/dbus.socket": "dbus.socket",
    "/user.slice/user-1000.slice/session-4.scope": "session-4.scope",
    "/user.slice/user-1000.slice/user@1000.service": "user@1000.service",
    "/user.slice/user-1000.slice/user@1000.service/init.scope": "user@1000.service/init.scope",
    "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope": (
        "user@1000.service/vte-spawn-1.scope"
    ),
    "/system.slice": "system.slice",
    "/kubepods.slice/kubepods-besteffort.slice": "kubepods-besteffort.slice",
    "/a/b": "",
    "/system.slice/dev-disk-by\\x2duuid.swap": "dev-disk-by\\x2duuid.swap",
    "/../../system.slice/ssh.service": "ssh.service",  # seen from inside of a cgroup namespace
    "/system.slice/gone.service (deleted)": "gone.service",
}


@pytest.mark.parametrize(("path", "unit"), UNITS.items())
def test_units(path: str, unit: str) -> None:
    assert of_path(path) == (unit, "")


# What Docker, Podman, containerd, CRI-O, Kubernetes and LXC make, with systemd's slices and without.
CONTAINERS = {
    f"/docker/{ID}": f"docker:{SHORT}",
    f"/system.slice/docker-{ID}.scope": f"docker:{SHORT}",
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope": f"docker:{SHORT}",
    f"/ecs/0123-task/{ID}": f"container:{SHORT}",
    f"/ecs/{ID}": f"docker:{SHORT}",
    f"/machine.slice/libpod-{ID}.scope": f"podman:{SHORT}",
    f"/machine.slice/libpod-{ID}.scope/container": f"podman:{SHORT}",
    f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope/container": f"podman:{SHORT}",
    f"/libpod_parent/libpod-{ID}": f"podman:{SHORT}",
    f"/machine.slice/libpod-conmon-{ID}.scope": "",  # who watches it is not in it
    f"/system.slice/nerdctl-{ID}.scope": f"containerd:{SHORT}",
    f"/default/{ID}": f"containerd:{SHORT}",
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{ID}.scope": (
        f"containerd:{SHORT}"
    ),
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/crio-{ID}.scope": f"cri-o:{SHORT}",
    f"/kubepods.slice/kubepods-pod1.slice/docker-{ID}.scope": f"docker:{SHORT}",
    f"/kubepods/besteffort/pod74c13223-5a00-11e9-b385-42010a80018d/{ID}": f"kubernetes:{SHORT}",
    f"/kubepods/besteffort/pod1/crio-{ID}": f"cri-o:{SHORT}",
    f"/kubepods.slice/crio-conmon-{ID}.scope": "",
    f"/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:{ID}": f"containerd:{SHORT}",
    f"/{ID}": f"container:{SHORT}",
    "/lxc/web": "lxc:web",
    "/lxc.payload/web/system.slice/nginx.service": "lxc:web",
    "/lxc.payload.web": "lxc:web",
    "/lxc.payload.web/init.scope": "lxc:web",
    "/lxc.monitor.web": "",
    "/lxc.payload.": "",
    "/lxc": "",
    f"/docker/{ID}/docker/{OTHER}": f"docker:{SHORT}",  # the one that this machine's docker knows
    f"/docker/{ID}/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{OTHER}.scope": f"docker:{SHORT}",
}


@pytest.mark.parametrize(("path", "container"), CONTAINERS.items())
def test_containers(path: str, container: str) -> None:
    assert of_path(path)[1] == container


@pytest.mark.parametrize(
    "path",
    [
        f"/docker/{ID[:-1]}",
        f"/docker/{ID}0",
        f"/docker/{ID.upper()}",
        f"/docker/{ID[:-1]}g",
        f"/docker-{ID}.slice",
        f"/evil-{ID}.scope",
        f"/docker{ID}.scope",
        f"/docker_{ID}.scope",
        f"/docker-{ID}.scope.d",
        "/docker",
        "/docker-.scope",
        f"/process_api/{ID[:32]}",
    ],
)
def test_what_only_looks_like_a_container(path: str) -> None:
    assert of_path(path)[1] == ""


def test_a_container_has_its_unit_too() -> None:
    assert of_path(f"/system.slice/docker-{ID}.scope/init.scope") == (f"docker-{ID}.scope", f"docker:{SHORT}")


# --- names made to deceive ----------------------------------------------------------------------------------


def test_a_users_unit_is_not_the_systems() -> None:
    path = "/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service"
    assert of_path(path) == ("user@1000.service/ssh.service", "")


def test_a_manager_in_a_manager_hides_nobody() -> None:
    path = "/user.slice/user-1000.slice/user@1000.service/user@0.service/app.slice/app-x.scope"
    assert of_path(path) == ("user@1000.service/user@0.service", "")


def test_what_is_made_below_a_unit_does_not_hide_it() -> None:
    assert of_path("/system.slice/mine.service/ssh.service/system.slice/cron.service")[0] == "mine.service"


def test_nothing_is_unescaped() -> None:
    assert of_path(r"/system.slice/a\x2fb\x1b[31m.service")[0] == r"a\x2fb\x1b[31m.service"
    assert of_path("/system.slice/_cpu.service")[0] == "_cpu.service"


def test_any_bytes_come_through() -> None:
    unit, container = parse_cgroup(b"0::/system.slice/\xff\x1b]0;x\x07.service\n")
    assert (unit, container) == ("\udcff\x1b]0;x\x07.service", "")
    assert parse_cgroup(b"0::/lxc/\xff\n")[1] == "lxc:\udcff"


def test_colons_belong_to_the_path() -> None:
    assert of_path("/system.slice/a:b::c.service")[0] == "a:b::c.service"
    assert of_path(f"/x:y:{ID}")[1] == ""


# --- the three layouts --------------------------------------------------------------------------------------


def test_version_1_has_units_in_the_hierarchy_of_systemd() -> None:
    lines = "12:pids:/user.slice/other.service", "2:cpu,cpuacct:/", "1:name=systemd:/system.slice/ssh.service"
    assert parse(*lines) == ("ssh.service", "")
    assert parse("2:cpu,cpuacct:/system.slice/ssh.service") == ("", "")


def test_in_both_versions_at_once() -> None:
    session = "/user.slice/user-0.slice/session-1.scope"
    assert parse("4:memory:/x", f"1:name=systemd:{session}", f"0::{session}") == ("session-1.scope", "")
    assert parse("1:name=systemd:/", f"0::{session}") == ("session-1.scope", "")


def test_the_container_of_version_1_beside_the_daemon_in_version_2() -> None:
    """Docker on a hybrid machine leaves the daemon's cgroup in the last line."""
    lines = f"4:memory:/docker/{ID}", f"1:name=systemd:/docker/{ID}", "0::/system.slice/containerd.service"
    assert parse(*lines) == ("containerd.service", f"docker:{SHORT}")


def test_any_controller_tells_of_a_container() -> None:
    assert parse("9:name=systemd:/", f"4:memory:/docker/{ID}", "0::/") == ("", f"docker:{SHORT}")


@pytest.mark.parametrize("data", [b"", b"\n", b"0::\n", b"0:/\n", b"junk\n", b"0::/system.slice/cut.servi"])
def test_what_is_no_line_of_it(data: bytes) -> None:
    assert parse_cgroup(data) == ("", "")


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [b"0::", b"1:name=systemd:", b"/", b"..", b"docker", b"-", b".scope", b".service", b":"]
            )
            | st.sampled_from([ID.encode(), b"user@", b"lxc", b"lxc.payload.", b"kubepods"])
            | st.binary(max_size=5),
            max_size=12,
        ).map(b"".join),
        max_size=4,
    ).map(b"\n".join)
)
def test_any_bytes_at_all(data: bytes) -> None:
    unit, container = parse_cgroup(data)
    assert unit.count("/") <= 1
    assert "/" not in container
    assert "\n" not in unit + container


# --- terminals ----------------------------------------------------------------------------------------------


def device(major: int, minor: int) -> int:
    """As new_encode_dev() of linux/kdev_t.h."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


@pytest.mark.parametrize(
    ("major", "minor", "name"),
    [
        (0, 0, ""),
        (136, 0, "pts/0"),
        (136, 3, "pts/3"),
        (136, 255, "pts/255"),
        (136, 256, "pts/256"),
        (136, 70000, "pts/70000"),
        (137, 0, "pts/256"),
        (143, 255, "pts/2047"),
        (4, 1, "tty1"),
        (4, 63, "tty63"),
        (4, 64, "ttyS0"),
        (4, 67, "ttyS3"),
        (4, 300, "4:300"),
        (5, 1, "console"),
        (5, 0, "5:0"),
        (3, 0, "ttyp0"),
        (3, 0x1F, "ttyqf"),
        (3, 255, "ttyef"),
        (3, 256, "3:256"),
        (188, 0, "ttyUSB0"),
        (166, 1, "ttyACM1"),
        (204, 64, "ttyAMA0"),
        (204, 5, "204:5"),
        (229, 0, "hvc0"),
        (240, 7, "240:7"),
    ],
)
def test_terminals(major: int, minor: int, name: str) -> None:
    assert tty_name(device(major, minor)) == name


@given(st.integers(0, (1 << 32) - 1))
def test_any_number_has_a_name(tty_nr: int) -> None:
    assert bool(tty_name(tty_nr)) == bool(tty_nr)
