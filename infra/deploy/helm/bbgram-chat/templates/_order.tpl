{{/* Refuses an upgrade that would replace the roles in another order than `rollout.order`. Without a cluster, as in `helm template`, it sees nothing. */}}
{{- define "bbgram-chat.checkOrder" -}}
{{- $step := .Values.rollout.step -}}
{{- if .Release.IsUpgrade -}}
{{- if and (eq .Values.rollout.order "workers-first") (has $step (list "all" "edges")) -}}
{{- include "bbgram-chat.checkFirst" (dict "root" . "first" "worker" "second" "edge" "step" "workers") -}}
{{- else if and (eq .Values.rollout.order "edges-first") (has $step (list "all" "workers")) -}}
{{- include "bbgram-chat.checkFirst" (dict "root" . "first" "edge" "second" "worker" "step" "edges") -}}
{{- end -}}
{{- else if ne $step "all" -}}
{{- fail "rollout.step is for upgrades: leave it out when you install" -}}
{{- end -}}
{{- end -}}

{{- define "bbgram-chat.checkFirst" -}}
{{- $first := include "bbgram-chat.live" (list .root .first) -}}
{{- $second := include "bbgram-chat.live" (list .root .second) -}}
{{- if and (eq $second "other") (ne $first "new") (ne $first "none") -}}
{{- fail (printf "this release replaces %ss before %ss, and no %s of it is ready: run this with --set rollout.step=%s --wait, then again without it (docs/deployment.md, Kubernetes)" .first .second .first .step) -}}
{{- end -}}
{{- end -}}

{{/* What runs of a role: `none`, `new` (pods, all with the image that this upgrade wants) or `other`. */}}
{{- define "bbgram-chat.live" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $live := lookup "apps/v1" "Deployment" $root.Release.Namespace (printf "%s-%s" (include "bbgram-chat.fullname" $root) $role) -}}
{{- if not $live -}}none
{{- else -}}
{{- $image := (first $live.spec.template.spec.containers).image -}}
{{- $status := default dict $live.status -}}
{{- $isReplaced := and (eq (int64 $status.observedGeneration) (int64 $live.metadata.generation)) (eq (int $status.updatedReplicas) (int $status.replicas)) -}}
{{- if and (eq $image (include "bbgram-chat.image" (list $root $role))) (not $live.spec.paused) (gt (int $live.spec.replicas) 0) $isReplaced -}}new
{{- else -}}other
{{- end -}}
{{- end -}}
{{- end -}}
