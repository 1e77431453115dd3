{{- define "bbgram-chat.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: the longest suffix and the hash of a pod follow. */}}
{{- define "bbgram-chat.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "bbgram-chat.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "bbgram-chat.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bbgram-chat.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "bbgram-chat.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change. The pods of the migration have none of them: no Service or policy of the others selects them. */}}
{{- define "bbgram-chat.selector" -}}
app.kubernetes.io/name: {{ include "bbgram-chat.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bbgram-chat.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.imageTag | replace ":" "_" | trunc 63 | quote }}
app.kubernetes.io/part-of: bbgram-chat
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "bbgram-chat.labels" -}}
{{ include "bbgram-chat.selector" . }}
{{ include "bbgram-chat.commonLabels" . }}
{{- end -}}

{{/* Of a list of the root and a role. */}}
{{- define "bbgram-chat.image" -}}
{{- $root := index . 0 -}}
{{- $image := (index $root.Values (index . 1)).image -}}
{{- with $root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ $image.repository }}:{{ coalesce $image.tag $root.Values.imageTag $root.Chart.AppVersion }}
{{- end -}}
