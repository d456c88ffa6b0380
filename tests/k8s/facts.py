"""What the kinds in k8s/ may hold, as far as k8s/ uses them, and a check against it.

A shape is a type, a set of allowed values, a dict of all allowed fields, or a list of one shape. A field that is missing here
may exist: look it up in the source named at the kind, then add it.
"""

OPEN = object()  # anything: labels, quantities by name
COUNT = int

# Kubernetes core/v1: PodSpec, Container. The CRDs below hold the same schemas.
PROBE = {"tcpSocket": {"port": COUNT}, "exec": {"command": [str]}, "periodSeconds": COUNT, "failureThreshold": COUNT,
         "initialDelaySeconds": COUNT, "timeoutSeconds": COUNT}
CONTAINER = {
    "name": str, "image": str, "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "command": [str], "args": [str], "env": [{"name": str, "value": str}],
    "securityContext": {"allowPrivilegeEscalation": bool, "capabilities": {"add": [str], "drop": [str]},
                        "readOnlyRootFilesystem": bool},
    "startupProbe": PROBE, "readinessProbe": PROBE, "livenessProbe": PROBE,
    "lifecycle": {"preStop": {"exec": {"command": [str]}}},
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
    "resources": {"limits": OPEN, "requests": OPEN},
}
POD = {
    "containers": [CONTAINER], "initContainers": [CONTAINER], "restartPolicy": {"Always", "OnFailure", "Never"},
    "terminationGracePeriodSeconds": COUNT, "automountServiceAccountToken": bool, "serviceAccountName": str,
    "nodeSelector": OPEN, "tolerations": OPEN, "affinity": OPEN, "priorityClassName": str, "schedulerName": str,
    "securityContext": {"runAsNonRoot": bool, "runAsUser": COUNT, "runAsGroup": COUNT, "fsGroup": COUNT,
                        "fsGroupChangePolicy": {"Always", "OnRootMismatch"},
                        "seccompProfile": {"type": {"RuntimeDefault", "Unconfined", "Localhost"}}},
    "volumes": [{"name": str, "configMap": {"name": str}, "persistentVolumeClaim": {"claimName": str},
                 "emptyDir": {"medium": {"", "Memory"}, "sizeLimit": str}}],
}
META = {"name": str, "labels": OPEN, "annotations": OPEN}
POD_TEMPLATE = {"metadata": META, "spec": POD}

# Kubernetes batch/v1 (podFailurePolicy since 1.26, stable since 1.31): JobSpec.
JOB_SPEC = {
    "backoffLimit": COUNT, "suspend": bool, "activeDeadlineSeconds": COUNT, "ttlSecondsAfterFinished": COUNT,
    "podFailurePolicy": {"rules": [{
        "action": {"FailJob", "FailIndex", "Ignore", "Count"},
        "onExitCodes": {"containerName": str, "operator": {"In", "NotIn"}, "values": [COUNT]},
        "onPodConditions": [{"type": str, "status": {"True", "False", "Unknown"}}]}]},
    "template": POD_TEMPLATE,
}

# MPI Operator 0.8, kubeflow.org/v2beta1 (manifests/base/kubeflow.org_mpijobs.yaml). The schema would take further restart
# policies, which the operator's own validation then refuses.
REPLICAS = {"replicas": COUNT, "restartPolicy": {"Never", "OnFailure"}, "template": POD_TEMPLATE}
MPI_JOB_SPEC = {
    "slotsPerWorker": COUNT, "mpiImplementation": {"OpenMPI", "Intel", "MPICH"}, "sshAuthMountPath": str,
    "launcherCreationPolicy": {"AtStartup", "WaitForWorkersReady"}, "runLauncherAsWorker": bool,
    "runPolicy": {"cleanPodPolicy": {"None", "Running", "All"}, "backoffLimit": COUNT, "suspend": bool,
                  "activeDeadlineSeconds": COUNT, "ttlSecondsAfterFinished": COUNT,
                  "managedBy": {"kubeflow.org/mpi-operator", "kueue.x-k8s.io/multikueue"},
                  "schedulingPolicy": {"minAvailable": COUNT, "minResources": OPEN, "priorityClass": str, "queue": str,
                                       "scheduleTimeoutSeconds": COUNT}},
    "mpiReplicaSpecs": {"Launcher": REPLICAS, "Worker": REPLICAS},
}

# Kubeflow Trainer 2.1 to 2.3, trainer.kubeflow.org/v1alpha1 (manifests/base/crds), with JobSet jobset.x-k8s.io/v1alpha2.
TRAIN_JOB_SPEC = {
    "runtimeRef": {"apiGroup": {"trainer.kubeflow.org"}, "kind": {"TrainingRuntime", "ClusterTrainingRuntime"}, "name": str},
    "suspend": bool,
    "trainer": {"image": str, "command": [str], "args": [str], "env": CONTAINER["env"], "numNodes": COUNT,
                "numProcPerNode": COUNT, "resourcesPerNode": CONTAINER["resources"]},
}
JOB_SET_SPEC = {
    "network": {"enableDNSHostnames": bool, "publishNotReadyAddresses": bool, "subdomain": str},
    "successPolicy": {"operator": {"All", "Any"}, "targetReplicatedJobs": [str]},
    "failurePolicy": {"maxRestarts": COUNT, "restartStrategy": {"Recreate", "BlockingRecreate"}, "rules": [{
        "name": str, "action": {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"},
        "onJobFailureReasons": [{"BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded",
                                 "PodFailurePolicy"}],
        "targetReplicatedJobs": [str]}]},
    "replicatedJobs": [{"name": str, "replicas": COUNT, "dependsOn": [{"name": str, "status": {"Ready", "Complete"}}],
                        "template": {"metadata": META, "spec": JOB_SPEC}}],
}
TRAINING_RUNTIME_SPEC = {
    "mlPolicy": {"numNodes": COUNT, "mpi": {"numProcPerNode": COUNT, "mpiImplementation": {"OpenMPI"},
                                            "sshAuthMountPath": str, "runLauncherAsNode": bool}},
    "template": {"metadata": META, "spec": JOB_SET_SPEC},
}

KINDS = {  # kind: apiVersion, shape of the spec
    "MPIJob": ("kubeflow.org/v2beta1", MPI_JOB_SPEC),
    "TrainJob": ("trainer.kubeflow.org/v1alpha1", TRAIN_JOB_SPEC),
    "TrainingRuntime": ("trainer.kubeflow.org/v1alpha1", TRAINING_RUNTIME_SPEC),
    "Job": ("batch/v1", JOB_SPEC),
    "PersistentVolumeClaim": ("v1", {"accessModes": [{"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}],
                                     "storageClassName": str, "resources": CONTAINER["resources"]}),
}


def misfits(value, shape, path):
    """Yields one line for each field or value that the shape does not know."""
    if shape is OPEN:
        return
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{path}: {value!r}, expected fields"
            return
        for key, field in value.items():
            if key in shape:
                yield from misfits(field, shape[key], f"{path}.{key}")
            else:
                yield f"{path}: no field {key!r} is known there"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{path}: {value!r}, expected a list"
            return
        for index, item in enumerate(value):
            yield from misfits(item, shape[0], f"{path}[{index}]")
    elif isinstance(shape, set):
        if value not in shape:
            yield f"{path}: {value!r}, expected one of {sorted(shape)}"
    elif type(value) is not shape:  # not isinstance: True is no count
        yield f"{path}: {value!r}, expected {shape.__name__}"
