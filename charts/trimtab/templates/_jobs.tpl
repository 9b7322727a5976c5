{{/* Scheduled commands: a pod that runs `trimtab` once, and the compilation of a pipeline before it. */}}

{{/* container: bad input (exit code 2) ends the Job at once, an evicted pod does not count as a try. */}}
{{- define "trimtab.podFailurePolicy" -}}
podFailurePolicy:
  rules:
    - action: FailJob
      onExitCodes: {containerName: {{ .container }}, operator: In, values: [2]}
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
{{- end -}}

{{/* The pool of a schedule, with what it leaves out. */}}
{{- define "trimtab.pool" -}}
{{- $pool := index .root.Values.accelerators.pools (default "cpu" .name) -}}
{{- $whole := merge (dict) $pool (dict "workers" 2 "namespace" "" "nodeSelector" dict "tolerations" list "image" "" "resourceName" "" "quota" 0 "cpu" "1" "memory" "4Gi") -}}
{{- if not (hasKey $whole "retries") -}}{{- $_ := set $whole "retries" 3 -}}{{- end -}}{{- /* `merge` takes 0 for absent */ -}}
{{- toYaml $whole -}}
{{- end -}}

{{/* root, arguments (of the command), needs, pipeline and pool (compiled before), kubeflowNamespace, settings, container */}}
{{- define "trimtab.jobPod" -}}
{{- $jobs := .root.Values.jobs }}
{{- $image := include "trimtab.image" (dict "root" .root "image" .root.Values.images.pipeline) }}
metadata:
  {{- include "trimtab.podMetadata" (dict "root" .root "component" .component "settings" $jobs) | nindent 2 }}
spec:
  {{- include "trimtab.podSpec" (dict "root" .root "component" .component "settings" $jobs "account" .account) | nindent 2 }}
  restartPolicy: Never
  {{- with .pipeline }}
  {{- $pool := $.pool }}
  initContainers:
    - name: compile
      image: {{ $image }}
      imagePullPolicy: {{ $.root.Values.images.pipeline.pullPolicy | default "IfNotPresent" }}
      command: [trimtab, pipeline, compile]
      args:
        - --name={{ . }}
        - --out=/tmp/pipeline.yaml
        - --workers={{ $pool.workers }}
        - --retries={{ $pool.retries }}
        - --cpu={{ $pool.cpu }}
        - --memory={{ $pool.memory }}
        - --accelerator={{ $pool.accelerator }}
        {{- if and (ne $pool.accelerator "none") $pool.resourceName }}
        - --resource={{ $pool.resourceName }}
        {{- end }}
        - --image={{ $image }}
        {{- with $pool.image }}
        - --worker-image={{ include "trimtab.image" (dict "root" $.root "image" (dict "repository" .)) }}
        {{- end }}
        - --environment-secret={{ include "trimtab.environmentSecret" $.root }}
        - --volume-claim={{ include "trimtab.homeClaim" $.root }}
        {{- range $key, $value := $pool.nodeSelector }}
        - --node-selector={{ $key }}={{ $value }}
        {{- end }}
        {{- range $pool.tolerations }}
        - --toleration={{ .key }}{{ with .value }}={{ . }}{{ end }}:{{ .effect | default "NoSchedule" }}
        {{- end }}
      env:
        - {name: HOME, value: /tmp}
        - {name: TRIMTAB_HOME, value: /tmp/home}
      securityContext:
        {{- include "trimtab.containerSecurity" $.root | nindent 8 }}
      resources:
        {{- toYaml $jobs.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
  {{- end }}
  containers:
    - name: command
      image: {{ $image }}
      imagePullPolicy: {{ .root.Values.images.pipeline.pullPolicy | default "IfNotPresent" }}
      command: [trimtab]
      args:
        {{- toYaml .arguments | nindent 8 }}
      env:
        {{- include "trimtab.environment" (dict "root" .root "needs" .needs "objectStore" .objectStore "pseudonyms" .pseudonyms "kubeflowNamespace" .kubeflowNamespace) | nindent 8 }}
        {{- with $jobs.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      securityContext:
        {{- include "trimtab.containerSecurity" .root | nindent 8 }}
      resources:
        {{- toYaml $jobs.resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: home, mountPath: /var/lib/trimtab}
        {{- if and .pipeline (eq .root.Values.kubeflow.auth "serviceAccount") }}
        - {name: kubeflow-token, mountPath: /var/run/secrets/kubeflow/pipelines, readOnly: true}
        {{- end }}
        {{- with $jobs.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "trimtab.scratchVolume" .root | nindent 4 }}
    {{- include "trimtab.homeVolume" .root | nindent 4 }}
    {{- if and .pipeline (eq .root.Values.kubeflow.auth "serviceAccount") }}
    {{- include "trimtab.kubeflowTokenVolume" .root | nindent 4 }}
    {{- end }}
    {{- with $jobs.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* root, component, name, cron, and what trimtab.jobPod takes. */}}
{{- define "trimtab.cronJob" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "trimtab.metadata" (dict "root" .root "component" .component "suffix" (printf "%s-%s" .component .name) "longest" 52) | nindent 2 }}
spec:
  schedule: {{ .cron | quote }}
  timeZone: {{ .root.Values.jobs.timeZone | quote }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 5
  jobTemplate:
    spec:
      backoffLimit: 3
      {{- include "trimtab.podFailurePolicy" (dict "container" "command") | nindent 6 }}
      activeDeadlineSeconds: {{ .root.Values.jobs.activeDeadlineSeconds | int64 }}
      ttlSecondsAfterFinished: 604800
      template:
        {{- include "trimtab.jobPod" . | nindent 8 }}
{{- end -}}
