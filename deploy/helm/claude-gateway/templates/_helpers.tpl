{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- define "claude-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of the objects; "-metrics" must still fit behind it. */ -}}
{{- define "claude-gateway.fullname" -}}
{{- $name := include "claude-gateway.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "claude-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "claude-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "claude-gateway.labels" -}}
{{ include "claude-gateway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "claude-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "claude-gateway.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "claude-gateway.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* What the objects need to know of gateway.yaml, as YAML: port, tls, host, metricsPort (0: none), restart. */ -}}
{{- define "claude-gateway.facts" -}}
{{- $file := fromYaml .Values.config -}}
{{- if hasKey $file "Error" -}}
{{- fail (printf "config is not YAML: %s" $file.Error) -}}
{{- end -}}
{{- $listen := $file.listen | default dict -}}
{{- if not (kindIs "map" $listen) -}}
{{- fail "config: listen is not a mapping" -}}
{{- end -}}
{{- $host := $listen.host | default "0.0.0.0" | toString -}}
{{- if or (hasPrefix "127." $host) (has $host (list "localhost" "::1" "[::1]")) -}}
{{- fail (printf "config: listen.host is %s, which nothing outside the pod reaches; write 0.0.0.0 or \"::\"" $host) -}}
{{- end -}}
{{- $port := 8080 -}}
{{- if hasKey $listen "port" -}}
{{- if not (regexMatch "^[1-9][0-9]*$" ($listen.port | toString)) -}}
{{- fail (printf "config: listen.port is %v; the Service needs a number from 1 on" $listen.port) -}}
{{- end -}}
{{- $port = $listen.port | int -}}
{{- end -}}
{{- $url := $listen.public_url | default "" | toString -}}
{{- $name := "" -}}
{{- if not (contains "${" $url) -}}
{{- $name = (urlParse $url).hostname -}}
{{- end -}}
{{- $metricsPort := 0 -}}
{{- $observability := $file.observability | default dict -}}
{{- $metrics := $observability.metrics | default dict -}}
{{- with $metrics.listen -}}
{{- $text := . | toString -}}
{{- if not (regexMatch ":[1-9][0-9]*$" $text) -}}
{{- fail (printf "config: observability.metrics.listen is %s; the Service needs host:port with a number from 1 on" $text) -}}
{{- end -}}
{{- if or (hasPrefix "127." $text) (hasPrefix "localhost:" $text) (hasPrefix "[::1]:" $text) -}}
{{- fail (printf "config: observability.metrics.listen is %s, which Prometheus cannot reach; write 0.0.0.0:9464" $text) -}}
{{- end -}}
{{- $metricsPort = regexFind "[0-9]+$" $text | int -}}
{{- end -}}
{{- if eq $metricsPort $port -}}
{{- fail (printf "config: listen.port and observability.metrics.listen both take port %d" $port) -}}
{{- end -}}
{{- $store := $file.store | default dict -}}
{{- if hasKey $store "sqlite_path" -}}
{{- fail "config: store.sqlite_path is for one process on one machine; replicas need store.postgres_url" -}}
{{- end -}}
{{- $restart := dict "host" $host "port" $port "tls" (hasKey $listen "tls") "store" $store "observability" $observability -}}
{{- dict "port" $port "tls" (hasKey $listen "tls") "host" $name "metricsPort" $metricsPort "restart" ($restart | toJson | sha256sum) | toYaml -}}
{{- end -}}

{{- /* A line for each secret that stands in the file in the clear. Argument: path, name, value. */ -}}
{{- define "claude-gateway.literals" -}}
{{- $secrets := list "client_secret" "private_key_pem" "jwt_secret" "password" "api_key" "oauth_token" "aws_secret_access_key" "aws_session_token" "aws_bearer_token" "access_token" "secret" -}}
{{- if kindIs "map" .value -}}
{{- range $name, $value := .value -}}
{{- include "claude-gateway.literals" (dict "path" (printf "%s.%s" $.path $name) "name" $name "value" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $index, $value := .value -}}
{{- include "claude-gateway.literals" (dict "path" (printf "%s[%d]" $.path $index) "name" $.name "value" $value) -}}
{{- end -}}
{{- else -}}
{{- $text := .value | toString -}}
{{- $isSecret := or (has .name $secrets) (and (eq .name "key") (contains "_keys[" .path)) (and (eq .name "service_account_json") (contains "{" $text)) -}}
{{- $isSecret = or $isSecret (and (eq .name "postgres_url") (regexMatch "^[^/]*//[^/@:]*:[^@]*@" $text)) -}}
{{- if and $isSecret $text (not (contains "${" $text)) -}}
{{- println .path -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Values that contradict each other, or that no schema can judge. */ -}}
{{- define "claude-gateway.check" -}}
{{- $facts := include "claude-gateway.facts" . | fromYaml -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is empty: name the image that you have built" -}}
{{- end -}}
{{- if not .Values.secret.existingSecret -}}
{{- fail "secret.existingSecret is empty: make a Secret with what config refers to, and name it here" -}}
{{- end -}}
{{- $file := fromYaml .Values.config -}}
{{- range $section := list "oidc" "session" "store" "upstreams" "telemetry" "admin" -}}
{{- with get $file $section -}}
{{- $found := include "claude-gateway.literals" (dict "path" $section "name" $section "value" .) | trim -}}
{{- if $found -}}
{{- fail (printf "config holds a secret in the clear, and a ConfigMap is no place for one: %s. Put it into the Secret %s and write ${file:%s/KEY}" (splitList "\n" $found | join ", ") $.Values.secret.existingSecret $.Values.secret.mountPath) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) -}}
{{- fail (printf "autoscaling.maxReplicas is %d, and minReplicas %d" (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) -}}
{{- end -}}
{{- $requests := (.Values.resources | default dict).requests | default dict -}}
{{- if and .Values.autoscaling.enabled (not $requests.cpu) -}}
{{- fail "autoscaling.enabled needs resources.requests.cpu, of which targetCPUUtilizationPercentage is the share" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not (or .Values.ingress.host $facts.host)) -}}
{{- fail "ingress.host is empty, and listen.public_url of config gives no host either" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (eq (int $facts.metricsPort) 0) -}}
{{- fail "serviceMonitor.enabled needs observability.metrics.listen in config, such as 0.0.0.0:9464" -}}
{{- end -}}
{{- $own := dict "CLAUDE_GATEWAY_DRAIN_TIMEOUT_MS" "shutdown.drainSeconds" "STATE_DIRECTORY" "enforcement.journal_dir in config" -}}
{{- $names := keys .Values.secret.env -}}
{{- range .Values.extraEnv -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range $name := $names -}}
{{- if hasKey $own $name -}}
{{- fail (printf "the chart sets %s itself: set %s instead" $name (get $own $name)) -}}
{{- end -}}
{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- fail (printf "extraEnv and secret.env set a variable twice: %s" (sortAlpha $names | join ", ")) -}}
{{- end -}}
{{- end -}}
