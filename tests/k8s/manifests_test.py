"""The manifests of k8s/ agree with each other, with the Dockerfile, with lora-dist, and with the kinds they name.

    python3 tests/k8s/manifests_test.py [build/release/lora-dist]

Needs PyYAML; exits with 77 where it is missing. Two checks need more: kubectl, and the program.
"""

import functools
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

try:
    import yaml
except ImportError:
    print("skipped: no PyYAML for", sys.executable, "(Debian: apt install python3-yaml)")
    sys.exit(77)

import facts
import kustomize

PROJECT = Path(__file__).resolve().parent.parent.parent
K8S = PROJECT / "k8s"
COMMON = K8S / "common"
WAYS = sorted(path.parent for path in K8S.rglob("kustomization.yaml") if path.parent != COMMON)
PROGRAM = sys.argv.pop() if len(sys.argv) > 1 and not sys.argv[-1].startswith("-") else None

# Of the exit codes in README.md those that another try of the same pod would meet again.
FINAL_EXIT_CODES = [2, 3, 4, 6, 8, 93]


@functools.cache
def rendered(folder):
    return kustomize.render(folder)


def for_each_way(test):
    """Runs test(self, folder, objects) for every way of starting, and names the way in a failure."""
    @functools.wraps(test)
    def run(self):
        for folder in WAYS:
            with self.subTest(way=str(folder.relative_to(K8S))):
                test(self, folder, rendered(folder))
    return run


def walk(value, path=()):
    """Every map inside a value, with the field names that lead to it; list positions are left out."""
    if isinstance(value, dict):
        yield path, value
        for key, field in value.items():
            yield from walk(field, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from walk(item, path)


def pods(objects):
    for thing in objects:
        for _, value in walk(thing):
            if "containers" in value:
                yield value


def only(objects, kind):
    return next((thing["spec"] for thing in objects if thing["kind"] == kind), None)


class Crew:
    """One way of starting: how many pods hold ranks, how many ranks each, with which limits, by which command."""

    def __init__(self, objects):
        if job := only(objects, "MPIJob"):
            worker = job["mpiReplicaSpecs"]["Worker"]
            self.num_pods, self.ranks_per_pod = worker["replicas"], job["slotsPerWorker"]
            self.limits = worker["template"]["spec"]["containers"][0]["resources"]["limits"]
            starter = job["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
        elif job := only(objects, "TrainJob"):
            starter = job["trainer"]
            self.num_pods, self.ranks_per_pod = starter["numNodes"], starter["numProcPerNode"]
            self.limits = starter["resourcesPerNode"]["limits"]
        else:
            starter = only(objects, "Job")["template"]["spec"]["containers"][0]
            self.num_pods, self.ranks_per_pod, self.limits = 1, None, starter["resources"]["limits"]
        self.command = starter["command"] + starter["args"]
        self.num_ranks = int(self.command[self.command.index("--ranks") + 1])
        self.ranks_per_pod = self.ranks_per_pod or self.num_ranks
        self.overrides = [word for word in self.command if "=" in word]
        config = yaml.safe_load((COMMON / "config.yaml").read_text())
        self.config = {**config, **dict(word.split("=") for word in self.overrides)}


class Manifests(unittest.TestCase):
    def test_every_file_is_used_and_every_used_file_exists(self):
        used = {K8S / "storage.yaml"}
        for folder in [*WAYS, COMMON]:
            settings = kustomize.kustomization(folder)
            used.add(folder / "kustomization.yaml")
            generated = [name for entry in settings.get("configMapGenerator", []) for name in entry["files"]]
            for name in settings.get("resources", []) + settings.get("configurations", []) + generated:
                path = (folder / name).resolve()
                used.add(path / "kustomization.yaml" if path.is_dir() else path)
            for name in settings.get("components", []):
                self.assertEqual((folder / name).resolve(), COMMON)
        self.assertEqual(sorted(used), sorted(K8S.rglob("*.yaml")))

    @unittest.skipUnless(shutil.which("kubectl"), "no kubectl here to build the overlays")
    @for_each_way
    def test_kubectl_builds_the_same(self, folder, objects):
        built = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stderr)
        [name] = set(re.findall(r"lora-dist-config\S*", built.stdout))  # the same hash wherever it is named
        self.assertRegex(name, r"^lora-dist-config-\w{10}$")
        self.assertCountEqual(yaml.safe_load_all(built.stdout.replace(name, "lora-dist-config")), objects)

    def assert_known(self, thing):
        version, spec = facts.KINDS[thing["kind"]]
        self.assertEqual(thing["apiVersion"], version)
        shape = {"apiVersion": str, "kind": str, "metadata": facts.META, "spec": spec}
        self.assertEqual(list(facts.misfits(thing, shape, thing["kind"])), [])

    @for_each_way
    def test_fields_and_values_are_known_to_their_kinds(self, folder, objects):
        for thing in objects:
            if thing["kind"] != "ConfigMap":
                self.assert_known(thing)

    def test_the_volume_is_known_to_its_kind(self):
        for thing in kustomize.documents(K8S / "storage.yaml"):
            self.assert_known(thing)

    @for_each_way
    def test_ranks_fill_the_slots(self, folder, objects):
        crew = Crew(objects)
        self.assertEqual(crew.num_ranks, crew.num_pods * crew.ranks_per_pod)
        micro_batches = int(crew.config["global_batch_size"]) // int(crew.config["batch_size"])
        self.assertEqual(micro_batches % crew.num_ranks, 0, "some ranks would wait for others in every step")

    @for_each_way
    def test_ranks_share_the_limits_of_their_pod(self, folder, objects):
        crew = Crew(objects)
        self.assertEqual(int(crew.config["threads_per_rank"]) * crew.ranks_per_pod, int(crew.limits["cpu"]))
        self.assertEqual(crew.limits.get("nvidia.com/gpu", crew.ranks_per_pod), crew.ranks_per_pod)

    @for_each_way
    def test_a_gang_waits_for_no_pod_that_is_made_later(self, folder, objects):
        job = only(objects, "MPIJob")
        gang = job and job["runPolicy"].get("schedulingPolicy")
        if gang and job["launcherCreationPolicy"] == "WaitForWorkersReady":
            self.assertEqual(gang["minAvailable"], job["mpiReplicaSpecs"]["Worker"]["replicas"])

    def test_only_what_another_try_cannot_mend_is_final(self):
        policies = [rule["onExitCodes"]["values"] for folder in WAYS for _, rule in walk(rendered(folder))
                    if rule.get("action") == "FailJob"]
        self.assertEqual(policies, [FINAL_EXIT_CODES] * 2)  # single-node and trainjob; an MPIJob cannot have one

    @for_each_way
    def test_pods_have_the_time_and_the_hook_to_save(self, folder, objects):
        for pod in pods(objects):
            self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], 120)
            [container] = pod["containers"]
            if "sshd" in " ".join(container.get("command", [])):
                self.assertIn("-USR1 -x lora-dist", container["lifecycle"]["preStop"]["exec"]["command"][-1])

    @for_each_way
    def test_pods_run_without_rights(self, folder, objects):
        [user] = re.findall(r"^USER (\d+):", (K8S / "Dockerfile").read_text(), re.M)
        for pod in pods(objects):
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertEqual(pod["securityContext"]["runAsUser"], int(user))
            for container in pod["containers"]:
                self.assertEqual(container["securityContext"],
                                 {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})

    @for_each_way
    def test_sshd_listens_where_the_image_and_the_operators_say(self, folder, objects):
        dockerfile = (K8S / "Dockerfile").read_text()
        [port] = set(re.findall(r"'\s*Port (\d+)'", dockerfile))  # of the server and of the client
        [key_folder] = re.findall(r"'HostKey (\S+)/id_rsa'", dockerfile)
        for _, value in walk(objects):
            if "sshAuthMountPath" in value:
                self.assertEqual(value["sshAuthMountPath"], key_folder)
            if "startupProbe" in value:
                self.assertEqual(value["startupProbe"]["tcpSocket"]["port"], int(port))
                self.assertIn(f"> {value['command'][-1]}", dockerfile)

    @for_each_way
    def test_mounts_and_volumes_are_there(self, folder, objects):
        [claim] = kustomize.documents(K8S / "storage.yaml")
        config_maps = {thing["metadata"]["name"] for thing in objects if thing["kind"] == "ConfigMap"}
        for pod in pods(objects):
            mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
            self.assertEqual(mounted, {volume["name"] for volume in pod["volumes"]})
            for volume in pod["volumes"]:
                if "configMap" in volume:
                    self.assertIn(volume["configMap"]["name"], config_maps)
                if "persistentVolumeClaim" in volume:
                    self.assertEqual(volume["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"])

    def test_kustomize_is_told_of_every_place_with_a_generated_name(self):
        [names] = kustomize.documents(COMMON / "names.yaml")
        told = {(spec["kind"], spec["path"]) for entry in names["nameReference"] if entry["kind"] == "ConfigMap"
                for spec in entry["fieldSpecs"]}
        places = {(thing["kind"], "/".join((*path, "name")))
                  for folder in WAYS for thing in rendered(folder) for path, _ in walk(thing)
                  if path[-1:] == ("configMap",) and thing["kind"] != "Job"}  # kustomize knows Job by itself
        self.assertEqual(told, places)

    def test_the_image_has_the_version_of_the_project(self):
        [version] = re.findall(r"project\(lora-dist VERSION (\S+)", (PROJECT / "CMakeLists.txt").read_text())
        self.assertEqual([image["newTag"] for image in kustomize.kustomization(COMMON)["images"]], [version])
        self.assertIn(f"-t lora-dist:{version} ", (K8S / "Dockerfile").read_text())

    @unittest.skipUnless(PROGRAM, "no lora-dist named on the command line")
    def test_the_program_takes_the_commands(self):
        told = subprocess.run([PROGRAM, "train", "--help"], capture_output=True, text=True).stdout
        crews = [Crew(rendered(folder)) for folder in WAYS]
        for crew in crews:
            self.assertEqual(crew.command[:4], ["lora-dist", "train", "--config", "/config/config.yaml"])
            for option in [word for word in crew.command if word.startswith("--")]:
                self.assertRegex(told, rf"(?m)^  {option} ")
        for overrides in {tuple(crew.overrides) for crew in crews}:
            checked = subprocess.run([PROGRAM, "validate", "--config-only", "--config", str(COMMON / "config.yaml"), *overrides],
                                     capture_output=True, text=True)
            self.assertEqual(checked.returncode, 0, checked.stderr)


if __name__ == "__main__":
    unittest.main()
