{{/* The image of the control plane, and of what is injected. */}}
{{- define "netting.image" -}}
{{- $tag := printf ":%s" (default .Chart.AppVersion .Values.image.tag) -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest -}}@{{ .Values.image.digest }}{{- else -}}{{ $tag }}{{- end -}}
{{- end }}

{{/* Flags of a program, as arguments: true stands for a flag without a value. */}}
{{- define "netting.args" -}}
{{- range $flag, $value := . }}
{{- if kindIs "bool" $value }}
{{- if $value }}
- --{{ $flag }}
{{- end }}
{{- else if and (kindIs "float64" $value) (eq (floor $value) $value) }}
- {{ printf "--%s=%s" $flag (toString (int64 $value)) | quote }}
{{- else }}
- {{ printf "--%s=%s" $flag (toString $value) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Variables that both parts of the control plane have. */}}
{{- define "netting.logging" -}}
{{- if .Values.log }}
- name: NETTING_LOG
  value: {{ .Values.log | quote }}
{{- end }}
{{- if .Values.logFormat }}
- name: NETTING_LOG_FORMAT
  value: {{ .Values.logFormat | quote }}
{{- end }}
{{- end }}

{{/*
Variables with the Secrets that a part's telemetry refers to as $(secret:NAME/KEY). If there
is no such Secret, an exporter is left out, and the pod starts all the same.
*/}}
{{- define "netting.secrets" -}}
{{- $reference := "\\$\\(secret:[A-Za-z0-9.-]+/[A-Za-z0-9._-]+\\)" -}}
{{- range regexFindAll $reference (toString (default "" .telemetry)) -1 | uniq }}
{{- $at := splitn "/" 2 (. | trimPrefix "$(secret:" | trimSuffix ")") }}
- name: NETTING_SECRET_{{ $at._0 }}_{{ $at._1 }}
  valueFrom:
    secretKeyRef:
      name: {{ $at._0 | quote }}
      key: {{ $at._1 | quote }}
      optional: true
{{- end }}
{{- end }}
