{{/* Pieces of NetworkPolicies. */}}

{{/* A `destination` of values as one egress rule. */}}
{{- define "trimtab.egress" -}}
- ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "trimtab.egressDns" -}}
- ports:
    {{- range .Values.networkPolicy.dns.ports }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* root, component, port: egress to a pod of this release, from wherever the policy lies. */}}
{{- define "trimtab.egressOwn" -}}
- ports:
    - {port: {{ .port }}, protocol: TCP}
  to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .root.Release.Namespace | quote }}
      podSelector:
        matchLabels:
          {{- include "trimtab.selectorLabels" . | nindent 10 }}
{{- end -}}

{{/* root, store (postgresql, redis, objectStore, mlflow): egress to the embedded one or to one's own. */}}
{{- define "trimtab.egressStore" -}}
{{- $embedded := dict "postgresql" (list "postgresql" 5432) "redis" (list "redis" 6379) "objectStore" (list "minio" 9000) "mlflow" (list "mlflow" 5000) }}
{{- $own := or .root.Values.embedded.enabled (and (eq .store "mlflow") .root.Values.mlflow.enabled) }}
{{- if $own }}
{{- $one := index $embedded .store }}
{{- include "trimtab.egressOwn" (dict "root" .root "component" (first $one) "port" (last $one)) }}
{{- else }}
{{- include "trimtab.egress" (index .root.Values.networkPolicy .store) }}
{{- end }}
{{- end -}}

{{/* Ingress from pods of this release, by component. root, components, port */}}
{{- define "trimtab.ingressOwn" -}}
- ports:
    - {port: {{ .port }}, protocol: TCP}
  from:
    {{- range .components }}
    - podSelector:
        matchLabels:
          {{- include "trimtab.selectorLabels" (dict "root" $.root "component" .) | nindent 10 }}
    {{- end }}
{{- end -}}

{{/* Arms' pods, which KServe labels with their InferenceService. */}}
{{- define "trimtab.armSelector" -}}
matchExpressions:
  - {key: serving.kserve.io/inferenceservice, operator: Exists}
{{- end -}}
