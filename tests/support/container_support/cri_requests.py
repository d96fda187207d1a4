"""The messages of Kubernetes' Container Runtime Interface, version 1, that running a pod takes.

Only the fields that the harness sets or reads stand here, with their numbers in the published API. Classes are made of
them at run time, so that no generated code is kept. An enumeration is an int32, which is the same on the wire.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_PACKAGE = "runtime.v1"
NAMESPACE_POD, NAMESPACE_CONTAINER, NAMESPACE_NODE = range(3)
EXITED = 2  # a state of containers

# One message a line: field=number, and :type unless it is a string. A type in brackets is repeated.
_MESSAGES = """
VersionRequest
VersionResponse                runtime_name=2 runtime_version=3
NamespaceOption                network=1:int32 pid=2:int32 ipc=3:int32
LinuxSandboxSecurityContext    namespace_options=1:NamespaceOption privileged=6:bool
LinuxPodSandboxConfig          cgroup_parent=1 security_context=2:LinuxSandboxSecurityContext
PodSandboxMetadata             name=1 uid=2 namespace=3
PodSandboxConfig               metadata=1:PodSandboxMetadata log_directory=3 labels=6:map annotations=7:map \
                               linux=8:LinuxPodSandboxConfig
RunPodSandboxRequest           config=1:PodSandboxConfig
RunPodSandboxResponse          pod_sandbox_id=1
StopPodSandboxRequest          pod_sandbox_id=1
StopPodSandboxResponse
RemovePodSandboxRequest        pod_sandbox_id=1
RemovePodSandboxResponse
ImageSpec                      image=1 user_specified_image=18
Mount                          container_path=1 host_path=2 readonly=3:bool
LinuxContainerSecurityContext  privileged=2:bool namespace_options=3:NamespaceOption
LinuxContainerConfig           security_context=2:LinuxContainerSecurityContext
ContainerMetadata              name=1
ContainerConfig                metadata=1:ContainerMetadata image=2:ImageSpec command=3:[string] mounts=7:[Mount] \
                               labels=9:map log_path=11 linux=15:LinuxContainerConfig
CreateContainerRequest         pod_sandbox_id=1 config=2:ContainerConfig sandbox_config=3:PodSandboxConfig
CreateContainerResponse        container_id=1
StartContainerRequest          container_id=1
StartContainerResponse
StopContainerRequest           container_id=1
StopContainerResponse
RemoveContainerRequest         container_id=1
RemoveContainerResponse
ContainerStatusRequest         container_id=1 verbose=2:bool
ContainerStatus                state=3:int32 exit_code=7:int32
ContainerStatusResponse        status=1:ContainerStatus info=2:map
ImageStatusRequest             image=1:ImageSpec
Image                          id=1
ImageStatusResponse            image=1:Image
ExecSyncRequest                container_id=1 cmd=2:[string] timeout=3:int64
ExecSyncResponse               stdout=1:bytes stderr=2:bytes exit_code=3:int32
"""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="cri_requests.proto", package=_PACKAGE, syntax="proto3")
    for line in _MESSAGES.strip().splitlines():
        name, *fields = line.split()
        message = file.message_type.add(name=name)
        for text in fields:
            _add_field(message, *text.replace("=", ":").split(":"))
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: str, type_: str = "string") -> None:
    field = message.field.add(name=name, number=int(number), label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
    if type_ == "map":  # of strings to strings: on the wire, repeated messages of a key and a value
        entry = message.nested_type.add(name=name.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", "1")
        _add_field(entry, "value", "2")
        type_ = f"[{message.name}.{entry.name}]"
    if type_.startswith("["):
        field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        type_ = type_.strip("[]")
    if type_[0].isupper():
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{type_}"
    else:
        field.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{type_.upper()}")


_POOL = descriptor_pool.DescriptorPool()  # of its own: the agent has a table of the same package
_POOL.AddSerializedFile(_file().SerializeToString())


def message_class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def method(name: str, service: str = "RuntimeService") -> str:
    """Path of a call."""
    return f"/{_PACKAGE}.{service}/{name}"
