{{/*
A Deployment of a role, of a dict:
  root, role
  command       of the container
  settings      maps of settings; the last one wins
  secrets       keys that the Secret must have
  optional      keys that it may have
  env           more variables
  grace         seconds until the container is killed, unless the values say so
  autoscaled    whether something else sets the number of replicas
  container     more of the container: ports, probes
  volumes, volumeMounts
*/}}
{{- define "bbgram-chat.deployment" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .role -}}
{{- $step := $root.Values.rollout.step -}}
{{- $isEdge := eq .role "edge" -}}
{{- $isStopped := and (eq $step "stop-workers") (not $isEdge) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "bbgram-chat.fullname" $root }}-{{ .role }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "bbgram-chat.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  {{- if .autoscaled }}
  {{- /* The number of the autoscaler, where it can be seen. Without any, an upgrade that enables it would begin with one pod; any other conflicts with it. */}}
  {{- with lookup "apps/v1" "Deployment" $root.Release.Namespace (printf "%s-%s" (include "bbgram-chat.fullname" $root) .role) }}
  replicas: {{ .spec.replicas }}
  {{- end }}
  {{- else if $isStopped }}
  replicas: 0
  {{- else }}
  replicas: {{ hasKey $values "replicas" | ternary $values.replicas 1 }}
  {{- end }}
  # A paused Deployment keeps its pods as they are.
  paused: {{ or (and $isEdge (has $step (list "stop-workers" "workers"))) (and (not $isEdge) (eq $step "edges")) }}
  {{- with $values.minReadySeconds }}
  minReadySeconds: {{ . }}
  {{- end }}
  revisionHistoryLimit: 5
  {{- if eq .role "beat" }}
  strategy: { type: Recreate }
  {{- else }}
  strategy:
    type: RollingUpdate
    {{- toYaml $values.strategy | nindent 4 }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "bbgram-chat.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .role }}
  template:
    metadata:
      # No version: an upgrade of the chart alone replaces no pods.
      labels:
        {{- include "bbgram-chat.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .role }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "bbgram-chat.podSpec" $root | nindent 6 }}
      serviceAccountName: {{ include "bbgram-chat.serviceAccountName" $root }}
      terminationGracePeriodSeconds: {{ default .grace $values.terminationGracePeriodSeconds }}
      {{- with include "bbgram-chat.spread" (list $root .role) }}
      {{- trim . | nindent 6 }}
      {{- end }}
      {{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
      {{- with index $values $key }}
      {{ $key }}: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      containers:
        - name: {{ .role }}
          image: {{ include "bbgram-chat.image" (list $root .role) }}
          imagePullPolicy: {{ $root.Values.imagePullPolicy }}
          command: {{ toJson .command }}
          securityContext:
            {{- toYaml $root.Values.securityContext | nindent 12 }}
          env:
            - { name: BBGRAM_METRICS_HOST, value: {{ $root.Values.bindAddress | quote }} }
            - { name: BBGRAM_METRICS_PORT, value: {{ $root.Values.metricsPort | quote }} }
            {{- $settings := dict }}
            {{- range .settings }}{{ $settings = merge (dict) . $settings }}{{ end }}
            {{- include "bbgram-chat.settings" $settings | trim | nindent 12 }}
            {{- include "bbgram-chat.secrets" (list $root .secrets .optional) | trim | nindent 12 }}
            {{- with .env }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- with $values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- .container | nindent 10 }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          volumeMounts:
            {{- include "bbgram-chat.volumeMounts" $root | nindent 12 }}
            {{- with .volumeMounts }}
            {{- . | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "bbgram-chat.volumes" $root | nindent 8 }}
        {{- with .volumes }}
        {{- . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* Workers and beat tell on their metrics' port whether they live. Nothing is routed to them, so none is ever unready. */}}
{{- define "bbgram-chat.workerContainer" -}}
ports:
  - { name: metrics, containerPort: {{ .Values.metricsPort }} }
startupProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}
