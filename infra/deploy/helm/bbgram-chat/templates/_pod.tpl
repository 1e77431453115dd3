{{/* What all pods have, and only they. */}}
{{- define "bbgram-chat.podSpec" -}}
automountServiceAccountToken: false
# Kubernetes would set variables such as BBGRAM_PORT for a Service called `bbgram`.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "bbgram-chat.volumes" -}}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "bbgram-chat.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Variables from a map of settings. Large numbers stay numbers: 5000000, not 5e+06. */}}
{{- define "bbgram-chat.settings" -}}
{{- range $name, $value := . }}
- name: BBGRAM_{{ $name }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end -}}

{{/* Variables from the Secret, of a list of the root, the keys it must have and those it may have. */}}
{{- define "bbgram-chat.secrets" -}}
{{- $secret := required "existingSecret: name a Secret with BBGRAM_REDIS_URL and BBGRAM_DATABASE_URL" (index . 0).Values.existingSecret -}}
{{- range $key := index . 1 }}
- name: BBGRAM_{{ $key }}
  valueFrom:
    secretKeyRef: { name: {{ $secret }}, key: BBGRAM_{{ $key }} }
{{- end }}
{{- range $key := index . 2 }}
- name: BBGRAM_{{ $key }}
  valueFrom:
    secretKeyRef: { name: {{ $secret }}, key: BBGRAM_{{ $key }}, optional: true }
{{- end }}
{{- end -}}

{{- define "bbgram-chat.spread" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.topologySpread.enabled }}
topologySpreadConstraints:
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $root.Values.topologySpread.whenUnsatisfiable }}
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "bbgram-chat.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ index $ 1 }}
{{- end }}
{{- end }}
{{- end -}}
