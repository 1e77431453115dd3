{{/* Rules of network policies. */}}
{{- define "bbgram-chat.egressTo" }}
- ports: [{ protocol: TCP, port: {{ .port }} }]
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- define "bbgram-chat.egressOfAll" }}
- ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
{{- with . }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- define "bbgram-chat.egressHttps" }}
- ports:
    {{- range . }}
    - { protocol: TCP, port: {{ . }} }
    {{- end }}
{{- end }}
