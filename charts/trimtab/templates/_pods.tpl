{{/* What every pod has alike: identity, hardening, environment, volumes and where it runs. */}}

{{/* Pod Security "restricted"; only the ids are values. */}}
{{- define "trimtab.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.security.runAsUser }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
{{- end }}
{{- with .Values.security.fsGroup }}
fsGroup: {{ . | int64 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "trimtab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* root, component, settings (the component's values): from serviceAccountName to the volumes' place. */}}
{{- define "trimtab.podSpec" -}}
serviceAccountName: {{ include "trimtab.fullname" .root }}-{{ default .component .account }}
automountServiceAccountToken: {{ default false .token }}
enableServiceLinks: false
securityContext:
  {{- include "trimtab.podSecurity" .root | nindent 2 }}
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* root, component, settings: labels and annotations of a pod. */}}
{{- define "trimtab.podMetadata" -}}
labels:
  {{- include "trimtab.labels" . | nindent 2 }}
{{- with .settings.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
The `cluster` profile's environment. Every variable of the profile is set, since the profile refuses to load without one;
those that the process has no use for are empty, so that it holds no credential of another's.
root, needs (names read from the environment's Secret), objectStore (whether it reads or writes the object store), pseudonyms
(whether it makes any)
*/}}
{{- define "trimtab.environment" -}}
{{- $needs := .needs }}
{{- $secret := include "trimtab.environmentSecret" .root }}
{{- range $name := list "MLFLOW_TRACKING_URI" "TRIMTAB_ARTIFACT_ROOT" "TRIMTAB_STUDY_STORAGE" "TRIMTAB_FEATURE_REGISTRY" "TRIMTAB_ONLINE_STORE" "TRIMTAB_EVENTS" "KFP_ENDPOINT" }}
- name: {{ $name }}
  {{- if has $name $needs }}
  valueFrom:
    secretKeyRef: {name: {{ $secret | quote }}, key: {{ $name }}}
  {{- else }}
  value: ""
  {{- end }}
{{- end }}
- name: KFP_TOKEN
  {{- if and (has "KFP_ENDPOINT" $needs) (eq .root.Values.kubeflow.auth "token") }}
  valueFrom:
    secretKeyRef: {name: {{ $secret | quote }}, key: KFP_TOKEN}
  {{- else }}
  value: ""
  {{- end }}
- name: KFP_NAMESPACE
  value: {{ default (include "trimtab.kubeflowNamespace" .root) .kubeflowNamespace | quote }}
- name: TRIMTAB_PIPELINE_IMAGE
  value: {{ include "trimtab.image" (dict "root" .root "image" .root.Values.images.pipeline) }}
- name: TRIMTAB_INSTANCE
  value: {{ include "trimtab.fullname" .root | quote }}
- name: TRIMTAB_SERVING_NAMESPACE
  value: {{ include "trimtab.servingNamespace" .root | quote }}
- name: TRIMTAB_SERVING_IMAGE
  value: {{ include "trimtab.image" (dict "root" .root "image" .root.Values.images.serving) }}
- name: TRIMTAB_SERVING_MODE
  value: {{ .root.Values.serving.mode }}
- name: TRIMTAB_SERVING_ACCOUNT
  value: {{ include "trimtab.servingAccount" .root | quote }}
- name: TRIMTAB_SERVING_PROFILE
  value: {{ .root.Values.serving.onlineFeatures | ternary "cluster" "" | quote }}
- name: TRIMTAB_SERVING_SECRET
  value: {{ .root.Values.serving.onlineFeatures | ternary (include "trimtab.armsSecret" .root) "" | quote }}
- name: TRIMTAB_ROUTER_URL
  value: http://{{ include "trimtab.fullname" .root }}-router.{{ .root.Release.Namespace }}:{{ .root.Values.router.port }}
- name: TRIMTAB_SHARED_VOLUME
  value: /var/lib/trimtab
- name: HOME
  value: /tmp
{{- if .pseudonyms }}
- name: TRIMTAB_PSEUDONYM_KEY
  valueFrom:
    secretKeyRef: {name: {{ $secret | quote }}, key: TRIMTAB_PSEUDONYM_KEY}
{{- end }}
{{- if .objectStore }}
{{- with include "trimtab.objectStoreEndpoint" .root }}
- name: AWS_ENDPOINT_URL
  value: {{ . }}
- name: MLFLOW_S3_ENDPOINT_URL
  value: {{ . }}
{{- end }}
{{- with .root.Values.objectStore.region }}
{{- range $name := list "AWS_REGION" "AWS_DEFAULT_REGION" }}
- name: {{ $name }}
  value: {{ $.root.Values.objectStore.region | quote }}
{{- end }}
{{- end }}
{{- $objects := include "trimtab.objectStoreSecret" .root }}
{{- if $objects }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $objects | quote }}, key: {{ $name }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* root, names: variables from the tokens' Secret. */}}
{{- define "trimtab.tokens" -}}
{{- $secret := include "trimtab.tokensSecret" .root }}
{{- range .names }}
- name: {{ . }}
  valueFrom:
    secretKeyRef: {name: {{ $secret | quote }}, key: {{ . }}}
{{- end }}
{{- end -}}

{{/* The one writable place beside mounted volumes. */}}
{{- define "trimtab.scratchVolume" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end -}}

{{- define "trimtab.homeVolume" -}}
- name: home
  persistentVolumeClaim:
    claimName: {{ include "trimtab.homeClaim" . | quote }}
{{- end -}}

{{/* A token that Kubeflow Pipelines accepts; only its own audience. */}}
{{- define "trimtab.kubeflowTokenVolume" -}}
- name: kubeflow-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 7200
          audience: pipelines.kubeflow.org
{{- end -}}
