{{- define "bakeoff.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "bakeoff.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "bakeoff.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "bakeoff.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Names of cluster-wide objects carry the namespace, so that two releases do not meet. */}}
{{- define "bakeoff.clustername" -}}
{{- printf "%s-%s" .Release.Namespace (include "bakeoff.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The part-of label is the product's name whatever the release is called: the store's NetworkPolicy and
     the operator agree on it. */}}
{{- define "bakeoff.labels" -}}
app.kubernetes.io/name: {{ include "bakeoff.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bakeoff
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "bakeoff.selector" -}}
app.kubernetes.io/name: {{ include "bakeoff.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bakeoff.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bakeoff.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "bakeoff.resultsName" -}}
{{- include "bakeoff.fullname" . }}-results
{{- end -}}

{{/* The Secret that the operator copies the results store's credentials from; empty: no default store. */}}
{{- define "bakeoff.resultsSecret" -}}
{{- if .Values.resultsStore.enabled -}}
{{- default (include "bakeoff.resultsName" .) .Values.resultsStore.existingSecret -}}
{{- else if .Values.externalResults.endpoint -}}
{{- required "externalResults.secretName is required with externalResults.endpoint" .Values.externalResults.secretName -}}
{{- end -}}
{{- end -}}

{{- define "bakeoff.resultsEndpoint" -}}
{{- if .Values.resultsStore.enabled -}}
http://{{ include "bakeoff.resultsName" . }}.{{ .Release.Namespace }}.svc:8333
{{- else -}}
{{- .Values.externalResults.endpoint -}}
{{- end -}}
{{- end -}}

{{- define "bakeoff.podSecurity" -}}
runAsNonRoot: true
{{- if eq .Values.securityContext.mode "Fixed" }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* What all pods of experiments get, as the operator reads it. */}}
{{- define "bakeoff.experimentPods" -}}
{{- $monitoring := ternary .Values.metrics.podMonitor.namespace "" .Values.metrics.podMonitor.enabled -}}
{{- dict "annotations" .Values.experiments.podAnnotations "labels" .Values.experiments.podLabels "imagePullSecrets" .Values.experiments.imagePullSecrets "serverImages" .Values.experiments.serverImages "identity" .Values.securityContext.mode "monitoringNamespace" $monitoring | toJson -}}
{{- end -}}

{{- define "bakeoff.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What the operator does in the namespaces whose experiments it runs. */}}
{{- define "bakeoff.rules" -}}
- apiGroups: [bakeoff.dev]
  resources: [experiments]
  # Schedules and plans make them.
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [bakeoff.dev]
  resources: [experimentplans, experimentschedules]
  verbs: [get, list, watch]
- apiGroups: [bakeoff.dev]
  resources: [experiments/status, experimentplans/status, experimentschedules/status]
  verbs: [get, patch]
- apiGroups: [bakeoff.dev]
  resources: [experiments/finalizers, experimentplans/finalizers, experimentschedules/finalizers]
  verbs: [update]
# By name only: it never lists Secrets.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  # A server is killed in the middle of a window where an experiment asks for that (serverLoss).
  verbs: [get, list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, delete]
# Why a pod is not made or not started stands in events alone; they are asked for when one is missing.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, create, patch]
{{- end -}}
