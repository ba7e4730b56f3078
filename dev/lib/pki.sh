# shellcheck shell=bash
# Certificates and kubeconfigs, made anew at every `up`.

PKI=$STATE/pki

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$1.key"; }

new_ca() { # NAME
	new_key "$1"
	openssl req -x509 -new -key "$PKI/$1.key" -sha256 -days 365 -subj "/CN=bakeoff-$1" \
		-addext keyUsage=critical,keyCertSign,digitalSignature -out "$PKI/$1.crt"
}

new_cert() { # NAME SUBJECT [SAN] [CA]
	local san=${3:-} ca=${4:-ca} ext
	ext=$'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth'
	[[ -z $san ]] || ext+=$'\n'"subjectAltName=$san"
	new_key "$1"
	openssl req -new -key "$PKI/$1.key" -subj "$2" |
		openssl x509 -req -sha256 -days 365 -CA "$PKI/$ca.crt" -CAkey "$PKI/$ca.key" \
			-set_serial "0x$(openssl rand -hex 8)" -extfile <(echo "$ext") -out "$PKI/$1.crt" 2>/dev/null
}

new_kubeconfig() { # NAME SERVER FILE: self-contained
	local b64='base64 -w0'
	cat >"$3" <<-EOF
		apiVersion: v1
		kind: Config
		current-context: bakeoff
		contexts: [{name: bakeoff, context: {cluster: bakeoff, user: $1}}]
		clusters: [{name: bakeoff, cluster: {server: "$2", certificate-authority-data: $($b64 "$PKI/ca.crt")}}]
		users: [{name: $1, user: {client-certificate-data: $($b64 "$PKI/$1.crt"), client-key-data: $($b64 "$PKI/$1.key")}}]
	EOF
	chmod 600 "$3"
}

pki_up() {
	local component
	mkdir -p "$PKI"
	chmod 700 "$PKI"
	new_ca ca
	new_ca front-proxy-ca
	new_key service-accounts
	openssl ec -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub" 2>/dev/null
	new_cert apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$CP_IP,IP:${SERVICE_CIDR%.*}.1"
	new_cert front-proxy /CN=front-proxy '' front-proxy-ca
	new_cert admin /O=system:masters/CN=admin
	new_cert apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
	new_kubeconfig admin "https://127.0.0.1:$API_PORT" "$KUBECONFIG_FILE"
	for component in kube-controller-manager kube-scheduler kube-proxy; do
		new_cert "$component" "/CN=system:$component"
		new_kubeconfig "$component" "https://$CP_IP:6443" "$STATE/$component.kubeconfig"
	done
}

node_pki_up() { # NODE INDEX
	# One certificate serves as the kubelet's client and its server.
	new_cert "$1" "/O=system:nodes/CN=system:node:$1" "DNS:$1,IP:$(node_ip "$2")"
	mkdir -p "$STATE/$1"
	new_kubeconfig "$1" "https://$CP_IP:6443" "$STATE/$1/kubeconfig"
}
