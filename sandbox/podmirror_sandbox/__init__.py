"""An embedded one-node stand-in for a cluster, so that everything runs with no Kubernetes at hand.

Four parts, each with one job:

- `__main__`, `launcher`, `requirements`: the process the user starts. It opens the API's socket on the host's loopback,
  starts the node in namespaces of its own, and takes it down.
- `node/`: process 1 of those namespaces: the network, the pods' processes, their logs.
- `cluster/`: what a control plane knows: objects, rules of writing them, controllers. No I/O, no clock of its own.
- `apiserver/`: HTTP in front of `cluster/`, and the port-forward.

The sandbox imports nothing of podmirror: it starts the agent as a process, as a container runtime would.

What is different from a real cluster, on purpose:

- Pods run on the host's files, as the user who started the sandbox: an image is only the beginning of a command line.
  `readOnlyRootFilesystem`, volumes, `envFrom`, `stdin`, `tty`, resources, probes, `lifecycle`, seccomp, AppArmor,
  `hostNetwork` and `shareProcessNamespace` are accepted and not acted on; a variable from a ConfigMap or Secret is a
  CreateContainerConfigError. There is no /sys/fs/cgroup in a container.
- `runAsUser` needs root outside: in a plain user's namespace only uid 0 exists, and every container runs as that.
- `hostPID` shares the node's processes, but there are no control groups to tell whose they are: see `node.processview`.
- `targetContainerName` is checked and then ignored: the process namespaces of containers stay apart.
- An image of the sandbox's counts as present, also with `imagePullPolicy: Always`.
- Delays are shorter: restarts and pulls are tried again after 1 s to 30 s, a Job's pods at once.
- Pod Security knows the checks that agents meet (`cluster.podsecurity`), and a ResourceQuota counts pods, CPU and memory only.
  There are no LimitRanges, no webhooks and no admission policies. A ReplicaSet whose pods were refused tries again when
  something changes.
- Who has the token may do everything; a token with `:NAME` behind it is that user's, who may do what Roles and RoleBindings
  say. There are no ClusterRoles.
- Rolling updates are simpler: a Deployment makes all new pods at once. CronJobs know no time zones and no concurrency policies,
  Jobs one completion, StatefulSets no volume claims. There are no custom resources.
- No kube-proxy: a Service has no cluster IP. Its names stand in every pod's /etc/hosts with the address of one ready pod.
- exec and attach are refused, port-forward knows the legacy channels only (`kubectl port-forward` tunnels SPDY), bodies are
  JSON only (`kubectl create -f` works, `kubectl create deployment` sends protobuf), no server-side apply, no pagination.
"""
