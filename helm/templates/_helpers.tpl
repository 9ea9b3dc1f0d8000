{{- define "unified-push.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 57 | trimSuffix "-" }}
{{- end }}

{{/* At most 57 characters: suffixes of up to six follow. */}}
{{- define "unified-push.fullname" -}}
{{- $name := include "unified-push.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 57 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 57 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 57 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "unified-push.selector" -}}
app.kubernetes.io/name: {{ include "unified-push.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "unified-push.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "unified-push.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "unified-push.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty when the store is PostgreSQL. */}}
{{- define "unified-push.postgres" -}}
{{- if or (ne .Values.config.store.url "sqlite") .Values.config.store.url_file .Values.existingSecret.storeUrlKey }}yes{{ end }}
{{- end }}

{{- define "unified-push.manyPods" -}}
{{- if and (include "unified-push.postgres" .) (or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)) }}yes{{ end }}
{{- end }}

{{/* The annotation that keeps Traefik from answering 404: it then connects to the Service's own address,
which exists without a pod too. */}}
{{- define "unified-push.nativelb" -}}
traefik.ingress.kubernetes.io/service.nativelb
{{- end }}

{{- define "unified-push.serviceAnnotations" -}}
{{- $own := dict (include "unified-push.nativelb" .) "true" }}
{{- merge (deepCopy .Values.service.annotations) $own | toYaml }}
{{- end }}

{{/* Not empty when Traefik is in the cluster, or is named by ingress.className. Its own kinds show it;
to look for its IngressClass takes a right that whoever installs the chart may lack. */}}
{{- define "unified-push.traefik" -}}
{{- $kinds := .Capabilities.APIVersions }}
{{- if or ($kinds.Has "traefik.io/v1alpha1") ($kinds.Has "traefik.containo.us/v1alpha1") (contains "traefik" .Values.ingress.className) }}yes{{ end }}
{{- end }}

{{- define "unified-push.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

{{- define "unified-push.publicUrl" -}}
{{- default (printf "https://%s" .Values.config.component.domain) .Values.config.http.public_url }}
{{- end }}

{{- define "unified-push.publicHost" -}}
{{- (include "unified-push.publicUrl" . | urlParse).hostname }}
{{- end }}

{{- define "unified-push.publicPath" -}}
{{- default "/" (include "unified-push.publicUrl" . | urlParse).path }}
{{- end }}

{{/* The chart's own Prosody. */}}
{{- define "unified-push.prosody" -}}
{{ include "unified-push.fullname" . }}-prosody
{{- end }}

{{/* Where the XMPP server listens for components. */}}
{{- define "unified-push.componentHost" -}}
{{- .Values.prosody.enabled | ternary (include "unified-push.prosody" .) .Values.config.component.host }}
{{- end }}

{{/* Says what is wrong with the values that the schema cannot see, all at once. */}}
{{- define "unified-push.validate" -}}
{{- $config := .Values.config }}
{{- $existing := .Values.existingSecret }}
{{- $wrong := list }}
{{- if not .Values.image.repository }}
{{- $wrong = append $wrong "image.repository is missing: set it to where you pushed the image that the Containerfile builds" }}
{{- end }}
{{- if not $config.component.domain }}
{{- $wrong = append $wrong "config.component.domain is missing: set it to the component's name in the XMPP server, such as up.example.org" }}
{{- end }}
{{- if .Values.prosody.enabled }}
{{- if $config.component.host }}
{{- $wrong = append $wrong "config.component.host is set, but so is prosody.enabled: leave the host empty, and the chart's own Prosody is used" }}
{{- end }}
{{- if $config.component.tls }}
{{- $wrong = append $wrong "config.component.tls is set, but so is prosody.enabled: Prosody has no TLS for components, and the NetworkPolicy lets only the daemon reach it" }}
{{- end }}
{{- if $config.component.secret_file }}
{{- $wrong = append $wrong "config.component.secret_file is set, but so is prosody.enabled, which needs the secret in a Secret: use existingSecret.componentSecretKey" }}
{{- end }}
{{- if not .Values.prosody.tlsSecretName }}
{{- $wrong = append $wrong "prosody.tlsSecretName is missing: name the Secret with the certificate of config.component.domain (tls.crt and tls.key)" }}
{{- end }}
{{- else if not $config.component.host }}
{{- $wrong = append $wrong "config.component.host is missing: set it to where the XMPP server listens for components, such as prosody.xmpp.svc, or run one with prosody.enabled" }}
{{- end }}
{{- if not (include "unified-push.postgres" .) }}
{{- $remedy := "needs PostgreSQL, because the embedded store is one file that one pod owns: set config.store.url to postgres://..., or existingSecret.storeUrlKey" }}
{{- if gt (int .Values.replicas) 1 }}
{{- $wrong = append $wrong (printf "replicas: %d %s, or replicas to 1" (int .Values.replicas) $remedy) }}
{{- end }}
{{- if .Values.autoscaling.enabled }}
{{- $wrong = append $wrong (printf "autoscaling.enabled %s, or autoscaling.enabled to false" $remedy) }}
{{- end }}
{{- end }}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) }}
{{- $wrong = append $wrong "autoscaling.minReplicas is above autoscaling.maxReplicas" }}
{{- end }}
{{- range $secret := list
    (dict "path" "config.secret" "value" $config.secret "file" $config.secret_file "key" $existing.secretKey)
    (dict "path" "config.previous_secrets" "value" $config.previous_secrets "file" $config.previous_secrets_file "key" $existing.previousSecretsKey)
    (dict "path" "config.component.secret" "value" $config.component.secret "file" $config.component.secret_file "key" $existing.componentSecretKey)
    (dict "path" "config.store.url" "value" (ne $config.store.url "sqlite" | ternary $config.store.url "") "file" $config.store.url_file "key" $existing.storeUrlKey) }}
{{- if and $secret.value $secret.file }}
{{- $file := $secret.path | splitList "." | last }}
{{- $wrong = append $wrong (printf "%s is set, but so is %s_file: keep only one of the two" $secret.path $file) }}
{{- end }}
{{- if and $secret.value $existing.name }}
{{- $wrong = append $wrong (printf "%s is set, but so is existingSecret.name: put it into that Secret" $secret.path) }}
{{- end }}
{{- end }}
{{- if not (regexMatch "^(sqlite$|postgres(ql)?://)" $config.store.url) }}
{{- $wrong = append $wrong "config.store.url is neither sqlite nor starts with postgres://" }}
{{- end }}
{{- if and $existing.storeUrlKey (not $existing.name) }}
{{- $wrong = append $wrong "existingSecret.storeUrlKey is set without existingSecret.name: set the name of the Secret, or config.store.url" }}
{{- end }}
{{- if and $existing.previousSecretsKey (not $existing.name) }}
{{- $wrong = append $wrong "existingSecret.previousSecretsKey is set without existingSecret.name: set the name of the Secret, or config.previous_secrets" }}
{{- end }}
{{- range $path, $listen := dict "config.http.listen" $config.http.listen "config.admin.listen" $config.admin.listen }}
{{- if or (hasPrefix "127." $listen) (hasPrefix "[::1]" $listen) }}
{{- $wrong = append $wrong (printf "%s: %s cannot be reached from outside the pod: use 0.0.0.0 or [::]" $path $listen) }}
{{- end }}
{{- end }}
{{- if eq (include "unified-push.port" $config.http.listen) (include "unified-push.port" $config.admin.listen) }}
{{- $wrong = append $wrong "config.http.listen and config.admin.listen have the same port" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- $wrong = append $wrong "httpRoute.parentRefs is missing: name the Gateway, such as [{name: public, namespace: gateways}]" }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "\n\nThe values are wrong:\n- %s\n" (join "\n- " $wrong)) }}
{{- end }}
{{- end }}
