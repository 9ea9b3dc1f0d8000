{{/* The pod template of the StatefulSet and of the Deployment. */}}
{{- define "unified-push.pod" -}}
metadata:
  annotations:
    {{- /* A change starts new pods. The daemon could read it anew (SIGHUP), but nobody in the pod
    sends that signal, and the kubelet brings the files up to a minute late. */}}
    checksum/config: {{ include "unified-push.config" . | sha256sum }}
    checksum/secret: {{ include "unified-push.secretChecksum" . }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "unified-push.labels" . | nindent 4 }}
    app.kubernetes.io/component: daemon
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "unified-push.podBasics" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if include "unified-push.postgres" . }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "unified-push.selector" . | nindent 10 }}
          app.kubernetes.io/component: daemon
  {{- end }}
  containers:
    - name: unified-push
      {{- include "unified-push.containerBasics" . | nindent 6 }}
      args: [serve]
      env:
        # The image sets these two, and the environment wins over the file.
        - name: UNIFIED_PUSH_HTTP__LISTEN
          value: {{ .Values.config.http.listen | quote }}
        - name: UNIFIED_PUSH_ADMIN__LISTEN
          value: {{ .Values.config.admin.listen | quote }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: {{ include "unified-push.port" .Values.config.http.listen }}
        - name: admin
          containerPort: {{ include "unified-push.port" .Values.config.admin.listen }}
      startupProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 1
        # Bringing a large store of an earlier version to the present schema takes minutes.
        failureThreshold: 900
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "unified-push.configMounts" . | nindent 8 }}
        - name: state
          mountPath: {{ .Values.config.state_dir }}
  volumes:
    {{- include "unified-push.configVolumes" . | nindent 4 }}
    - name: state
      {{- if and .Values.persistence.enabled (not (include "unified-push.postgres" .)) }}
      persistentVolumeClaim:
        claimName: {{ default (include "unified-push.fullname" .) .Values.persistence.existingClaim }}
      {{- else }}
      emptyDir: {}
      {{- end }}
{{- end }}

{{/* Shared with the pod of `helm test`. */}}
{{- define "unified-push.podBasics" -}}
serviceAccountName: {{ .Values.serviceAccountName }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "unified-push.containerBasics" -}}
image: {{ include "unified-push.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "unified-push.configMounts" -}}
- name: config
  mountPath: /etc/unified-push
  readOnly: true
{{- if include "unified-push.secretData" . | fromJson }}
- name: secrets
  mountPath: {{ include "unified-push.secretDir" . }}
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "unified-push.configVolumes" -}}
- name: config
  configMap:
    name: {{ include "unified-push.fullname" . }}
{{- $data := include "unified-push.secretData" . | fromJson }}
{{- if $data }}
- name: secrets
  secret:
    secretName: {{ include "unified-push.secretName" . }}
    defaultMode: 0440
    items:
      {{- range $key := keys $data | sortAlpha }}
      - key: {{ $key }}
        path: {{ $key }}
      {{- end }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
