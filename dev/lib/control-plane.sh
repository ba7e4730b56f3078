# shellcheck shell=bash
# etcd, the API server and its two companions, in one network namespace.

control_plane_up() {
	local bin
	bin=$(dirname "$("$DEV/tools" path kube-apiserver)")

	# The cluster is thrown away after a crash, so etcd need not wait for the disk.
	# It also leaves the disk to what is being measured.
	spawn etcd "$CP" "$bin/etcd" --name=bakeoff --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn \
		--listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
		--listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
		--initial-cluster=bakeoff=http://127.0.0.1:2380

	# Aggregator routing: this namespace has no kube-proxy, so webhooks and aggregated
	# APIs are reached at their pods, not at a Service address.
	# Policies that change pods are beta here: a test puts a container into them, as a service mesh does.
	spawn kube-apiserver "$CP" "$bin/kube-apiserver" \
		--etcd-servers=http://127.0.0.1:2379 \
		--advertise-address="$CP_IP" --secure-port=6443 \
		--tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
		--client-ca-file="$PKI/ca.crt" \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged \
		--feature-gates=MutatingAdmissionPolicy=true \
		--runtime-config=admissionregistration.k8s.io/v1beta1=true \
		--service-cluster-ip-range="$SERVICE_CIDR" \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-signing-key-file="$PKI/service-accounts.key" \
		--service-account-key-file="$PKI/service-accounts.pub" \
		--kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
		--kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
		--requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy \
		--requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
		--requestheader-extra-headers-prefix=X-Remote-Extra- \
		--proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" \
		--enable-aggregator-routing

	spawn kube-controller-manager "$CP" "$bin/kube-controller-manager" \
		--kubeconfig="$STATE/kube-controller-manager.kubeconfig" \
		--authentication-kubeconfig="$STATE/kube-controller-manager.kubeconfig" \
		--authorization-kubeconfig="$STATE/kube-controller-manager.kubeconfig" \
		--leader-elect=false --use-service-account-credentials --allocate-node-cidrs=false \
		--service-account-private-key-file="$PKI/service-accounts.key" --root-ca-file="$PKI/ca.crt" \
		--cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
		--requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --bind-address=127.0.0.1

	spawn kube-scheduler "$CP" "$bin/kube-scheduler" \
		--kubeconfig="$STATE/kube-scheduler.kubeconfig" \
		--authentication-kubeconfig="$STATE/kube-scheduler.kubeconfig" \
		--authorization-kubeconfig="$STATE/kube-scheduler.kubeconfig" \
		--leader-elect=false --bind-address=127.0.0.1

	# The way in from the host: a unix socket belongs to no network namespace, so
	# two relays that meet at one lead from 127.0.0.1 here to the API server there.
	spawn api-inside "$CP" socat "UNIX-LISTEN:$RUN/api.sock,fork,mode=600" TCP:127.0.0.1:6443
	spawn api-outside host socat "TCP-LISTEN:$API_PORT,bind=127.0.0.1,reuseaddr,fork" "UNIX-CONNECT:$RUN/api.sock"
}
