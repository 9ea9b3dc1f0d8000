-- One Prosody with mod_unified_push three times, each with another back end.
data_path = DIR
certificates = DIR
log = { { to = "file", filename = DIR .. "/prosody.log", levels = { min = "info" } } }
run_as_root = true
modules_enabled = { "saslauth", "disco" }
modules_disabled = { "s2s", "tls", "offline" }
interfaces = { "127.0.0.1" }
c2s_ports = { 21522 }
http_ports = { 21580 }
http_interfaces = { "127.0.0.1" }
https_ports = {}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"
http_external_url = "https://up.example.org/"
unified_push_acl = { "example.org" }
unified_push_secret = "a secret of Prosody's"

VirtualHost "example.org"

Component "jwt.example.org" "unified_push"
    unified_push_backend = "jwt"

Component "storage.example.org" "unified_push"
    unified_push_backend = "storage"

if PASETO then
    Component "paseto.example.org" "unified_push"
        unified_push_backend = "paseto"
end
