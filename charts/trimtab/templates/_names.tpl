{{/* Names and labels. Helpers take the root context, or a dict with `root` and what they name. */}}

{{- define "trimtab.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "trimtab.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "trimtab.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "trimtab.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* root, component */}}
{{- define "trimtab.selectorLabels" -}}
app.kubernetes.io/name: {{ include "trimtab.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* root, component */}}
{{- define "trimtab.labels" -}}
{{ include "trimtab.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: trimtab
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* name, longest: cut with a hash where it is too long, so that two names stay two. */}}
{{- define "trimtab.fitted" -}}
{{- if gt (len .name) .longest -}}
{{- printf "%s-%s" (.name | trunc (sub .longest 9 | int) | trimSuffix "-") (.name | sha256sum | trunc 8) -}}
{{- else -}}
{{- .name -}}
{{- end -}}
{{- end -}}

{{/* root, component, suffix (of the name), longest (name), namespace, annotations */}}
{{- define "trimtab.metadata" -}}
name: {{ include "trimtab.fitted" (dict "name" (printf "%s-%s" (include "trimtab.fullname" .root) (default .component .suffix)) "longest" (default 63 .longest | int)) }}
namespace: {{ default .root.Release.Namespace .namespace | quote }}
labels:
  {{- include "trimtab.labels" . | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* root, image */}}
{{- define "trimtab.image" -}}
{{- with .root.Values.global.imageRegistry -}}{{ . | trimSuffix "/" }}/{{- end -}}
{{- .image.repository -}}
{{- if .image.digest -}}@{{ .image.digest }}{{- else -}}:{{ default .root.Chart.AppVersion .image.tag }}{{- end -}}
{{- end -}}

{{- define "trimtab.environmentSecret" -}}
{{- if .Values.embedded.enabled -}}{{ include "trimtab.fullname" . }}-environment{{- else -}}{{ .Values.environment.existingSecret }}{{- end -}}
{{- end -}}

{{- define "trimtab.tokensSecret" -}}
{{- if .Values.embedded.enabled -}}{{ include "trimtab.fullname" . }}-tokens{{- else -}}{{ .Values.secrets.existingSecret }}{{- end -}}
{{- end -}}

{{- define "trimtab.armsSecret" -}}
{{- if .Values.embedded.enabled -}}{{ include "trimtab.fullname" . }}-arms{{- else -}}{{ .Values.serving.existingSecret | default .Values.environment.existingSecret }}{{- end -}}
{{- end -}}

{{- define "trimtab.objectStoreSecret" -}}
{{- if .Values.embedded.enabled -}}{{ include "trimtab.fullname" . }}-environment{{- else -}}{{ .Values.objectStore.existingSecret }}{{- end -}}
{{- end -}}

{{- define "trimtab.objectStoreEndpoint" -}}
{{- if .Values.embedded.enabled -}}http://{{ include "trimtab.fullname" . }}-minio:9000{{- else -}}{{ .Values.objectStore.endpoint }}{{- end -}}
{{- end -}}

{{- define "trimtab.homeClaim" -}}
{{- default (printf "%s-home" (include "trimtab.fullname" .)) .Values.home.existingClaim -}}
{{- end -}}

{{- define "trimtab.servingNamespace" -}}
{{- default .Release.Namespace .Values.serving.namespace -}}
{{- end -}}

{{/* Service account of the arms' pods. The embedded store brings one, since an account of the namespace knows no key to it. */}}
{{- define "trimtab.servingAccount" -}}
{{- if .Values.embedded.enabled -}}
{{- default (printf "%s-arms" (include "trimtab.fullname" .)) .Values.serving.serviceAccountName -}}
{{- else -}}
{{- .Values.serving.serviceAccountName -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.kubeflowNamespace" -}}
{{- default .Release.Namespace .Values.kubeflow.namespace -}}
{{- end -}}

{{/* Namespaces that runs of the pools may live in, as a JSON list. */}}
{{- define "trimtab.runNamespaces" -}}
{{- $namespaces := list (include "trimtab.kubeflowNamespace" .) -}}
{{- range $name, $_ := .Values.accelerators.pools -}}
{{- with (include "trimtab.pool" (dict "root" $ "name" $name) | fromYaml).namespace -}}
{{- $namespaces = append $namespaces . -}}
{{- end -}}
{{- end -}}
{{- uniq $namespaces | toJson -}}
{{- end -}}

{{/* root, create (auto, always or never), api: "true" where the resource is to be made. */}}
{{- define "trimtab.wanted" -}}
{{- if or (eq .create "always") (and (eq .create "auto") (.root.Capabilities.APIVersions.Has .api)) -}}true{{- end -}}
{{- end -}}

{{- define "trimtab.mlflowEnabled" -}}
{{- if or .Values.mlflow.enabled .Values.embedded.enabled -}}true{{- end -}}
{{- end -}}

{{/* Pods that the router's Deployment has at least. */}}
{{- define "trimtab.routerPods" -}}
{{- if eq .Values.router.autoscaling.kind "none" -}}{{ .Values.router.replicas }}{{- else -}}{{ .Values.router.autoscaling.minReplicas }}{{- end -}}
{{- end -}}

{{/* Mistakes that a schema cannot see, since they lie between two values. */}}
{{- define "trimtab.validate" -}}
{{- with .Values.router.autoscaling -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "router.autoscaling.minReplicas is %d, above router.autoscaling.maxReplicas, which is %d." (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- if ge (int .Values.router.drainSeconds) (int .Values.router.terminationGracePeriodSeconds) -}}
{{- fail (printf "router.drainSeconds is %d; it must be below router.terminationGracePeriodSeconds, which is %d." (int .Values.router.drainSeconds) (int .Values.router.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- if and .Values.gateway.httpRoute.enabled .Values.gateway.ingress.enabled -}}
{{- fail "gateway.httpRoute.enabled and gateway.ingress.enabled are both true; choose one." -}}
{{- end -}}
{{- if and .Values.gateway.httpRoute.enabled (not .Values.gateway.httpRoute.parentRefs) -}}
{{- fail "gateway.httpRoute.parentRefs is empty; name the Gateway that the route hangs on." -}}
{{- end -}}
{{- if and .Values.gateway.ingress.enabled (not .Values.gateway.ingress.host) -}}
{{- fail "gateway.ingress.host is empty; name the host that the Ingress answers." -}}
{{- end -}}
{{- if and (gt (int .Values.controller.replicas) 1) (not .Values.controller.leaderElection.enabled) -}}
{{- fail "controller.replicas is above 1 while controller.leaderElection.enabled is false: two controllers would act at once." -}}
{{- end -}}
{{- if .Values.accelerators.hugepages.enabled -}}
{{- if has .Values.accelerators.hugepages.namespace (list "" .Release.Namespace (include "trimtab.servingNamespace" .)) -}}
{{- fail "accelerators.hugepages.namespace must be a namespace of the Gaudi pool alone: every container in it gets huge pages." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.rollouts (ne .Values.router.routesFrom "home") -}}
{{- fail "rollouts need router.routesFrom to be 'home': the Jobs that drive them write routes to the shared volume." -}}
{{- end -}}
{{- $pools := .Values.accelerators.pools -}}
{{- range $kind := list "schedules" "monitors" -}}
{{- range $name, $one := index $.Values $kind -}}
{{- if not (hasKey $pools (default "cpu" $one.pool)) -}}
{{- fail (printf "%s.%s.pool is '%s', which is not among accelerators.pools: %s." $kind $name $one.pool (keys $pools | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
