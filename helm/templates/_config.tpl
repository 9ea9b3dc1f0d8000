{{/* Where the Secret's keys are files in the pod. */}}
{{- define "unified-push.secretDir" -}}
/run/secrets/unified-push
{{- end }}

{{/* What the Secret's keys are called, as JSON. */}}
{{- define "unified-push.secretKeys" -}}
{{- with .Values.existingSecret }}
{{- if .name }}
{{- dict "component" .componentSecretKey "secret" .secretKey "previous" .previousSecretsKey "store" .storeUrlKey | toJson }}
{{- else }}
{{- dict "component" "component-secret" "secret" "secret" "previous" "previous-secrets" "store" "store-url" | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/* The Secret's keys, as JSON: those that the pod has files of. A value is what the chart's own
Secret has; it is empty for an existing one. What was generated once is looked up. Memoized,
because a second call would generate anew. */}}
{{- define "unified-push.secretData" -}}
{{- if not (hasKey .Values "_secretData") }}
{{- $config := .Values.config }}
{{- $existing := .Values.existingSecret }}
{{- $data := dict }}
{{- if $existing.name }}
{{- if not $config.component.secret_file }}{{ $_ := set $data $existing.componentSecretKey "" }}{{ end }}
{{- if not $config.secret_file }}{{ $_ := set $data $existing.secretKey "" }}{{ end }}
{{- with $existing.previousSecretsKey }}{{ $_ := set $data . "" }}{{ end }}
{{- with $existing.storeUrlKey }}{{ $_ := set $data . "" }}{{ end }}
{{- else }}
{{- $made := default dict (lookup "v1" "Secret" .Release.Namespace (include "unified-push.fullname" .)).data }}
{{- $kept := dict }}
{{- range $key := list "component-secret" "secret" }}
{{- $_ := set $kept $key (hasKey $made $key | ternary (get $made $key | b64dec) (randAlphaNum 64)) }}
{{- end }}
{{- if not $config.component.secret_file }}
{{- $_ := set $data "component-secret" (default (get $kept "component-secret") $config.component.secret) }}
{{- end }}
{{- if not $config.secret_file }}
{{- $_ := set $data "secret" (default $kept.secret $config.secret) }}
{{- end }}
{{- with $config.previous_secrets }}{{ $_ := set $data "previous-secrets" (join "\n" .) }}{{ end }}
{{- if ne $config.store.url "sqlite" }}{{ $_ := set $data "store-url" $config.store.url }}{{ end }}
{{- end }}
{{- $_ := set .Values "_secretData" (toJson $data) }}
{{- end }}
{{- .Values._secretData }}
{{- end }}

{{/* What a change of which has to start new pods. */}}
{{- define "unified-push.secretChecksum" -}}
{{- with .Values.existingSecret.name }}
{{- (lookup "v1" "Secret" $.Release.Namespace .).data | toJson | sha256sum }}
{{- else }}
{{- include "unified-push.secretData" . | sha256sum }}
{{- end }}
{{- end }}

{{- define "unified-push.secretName" -}}
{{- default (include "unified-push.fullname" .) .Values.existingSecret.name }}
{{- end }}

{{/* config.toml. TOML writes strings, numbers, booleans and lists as JSON does. What is empty is
left out, and has the daemon's default. */}}
{{- define "unified-push.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config.component "host" (include "unified-push.componentHost" .) }}
{{- $dir := include "unified-push.secretDir" . }}
{{- $keys := include "unified-push.secretKeys" . | fromJson }}
{{- $data := include "unified-push.secretData" . | fromJson }}
{{- range $secret := list
    (dict "in" $config "name" "secret" "key" $keys.secret)
    (dict "in" $config "name" "previous_secrets" "key" $keys.previous)
    (dict "in" $config.component "name" "secret" "key" $keys.component)
    (dict "in" $config.store "name" "url" "key" $keys.store) }}
{{- $_ := unset $secret.in $secret.name }}
{{- if hasKey $data $secret.key }}
{{- $_ := set $secret.in (printf "%s_file" $secret.name) (printf "%s/%s" $dir $secret.key) }}
{{- end }}
{{- end }}
{{- range $name, $value := $config }}
{{- if and $value (not (kindIs "map" $value)) (ne $name "import") }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $section, $options := $config }}
{{- if and (kindIs "map" $options) (without (values $options) "" nil) }}

[{{ $section }}]
{{- range $name, $value := $options }}
{{- if not (has $value (list "" nil)) }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $config.import }}

[[import]]
kind = {{ toJson .kind }}
key_file = {{ toJson .key_file }}
{{- end }}
{{- end }}
