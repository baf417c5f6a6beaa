from hublog.capture.resource import process_fields
from hublog.settings import ServiceSettings

CONTAINER = "0123456789abcdef" * 4


def fields(tmp_path, service=None, environ=(), *, cgroup="", mountinfo="", host="web-1"):
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mountinfo").write_text(mountinfo)
    return process_fields(
        service or ServiceSettings(), environ=dict(environ), host_name=lambda: host, proc=tmp_path
    )


def test_what_is_unknown_is_left_out(tmp_path):
    assert set(fields(tmp_path)) == {
        "host_name",
        "service_name",  # see test_service_name
        "service_instance_id",
        "schema_version",
        "handler_version",
    }


def test_stated_names_win_over_found_ones(tmp_path):
    environ = {"WEBSITE_SITE_NAME": "found", "REGION_NAME": "westeurope", "POD_NAME": "pod-1"}
    found = fields(tmp_path, ServiceSettings(name="stated", version="1.2"), environ)
    assert (found["service_name"], found["service_version"]) == ("stated", "1.2")
    assert (found["cloud_region"], found["k8s_pod_name"], found["service_instance_id"]) == (
        "westeurope",
        "pod-1",
        "pod-1",
    )


def test_the_container_is_found_in_either_file(tmp_path):
    assert fields(tmp_path, cgroup=f"0::/docker/{CONTAINER}\n")["container_id"] == CONTAINER
    row = f"640 620 0:1 /var/lib/docker/containers/{CONTAINER}/hostname /etc/hostname rw - ext4 /dev/x rw\n"
    assert fields(tmp_path, cgroup="0::/\n", mountinfo=row)["container_id"] == CONTAINER


def test_other_images_ids_in_mountinfo_are_not_the_containers(tmp_path):
    row = f"639 620 0:1 / / rw - overlay overlay lowerdir=/var/lib/docker/overlay2/{CONTAINER}/diff\n"
    assert "container_id" not in fields(tmp_path, mountinfo=row)


def test_a_machine_without_a_name_is_no_error(tmp_path):
    def fail():
        raise OSError("no name")

    assert "host_name" not in process_fields(
        ServiceSettings(), environ={}, host_name=fail, proc=tmp_path / "none"
    )
