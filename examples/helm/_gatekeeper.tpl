{{/*
The init container, for templates/ of a chart of yours. In the Pod's template:

      initContainers:
        {{- include "gatekeeper.container" .Values.gatekeeper | nindent 8 }}
*/}}
{{- define "gatekeeper.container" -}}
- name: gatekeeper
  image: {{ printf "%s:%s" .image.repository .image.tag | quote }}
  imagePullPolicy: IfNotPresent
  args:
    - wait
    - {{ printf "--timeout=%s" .timeout | quote }}
    {{- range .dependencies }}
    - {{ . | quote }}
    {{- end }}
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
  resources:
    requests:
      cpu: 10m
      memory: 32Mi
    limits:
      memory: 64Mi
{{- end }}
