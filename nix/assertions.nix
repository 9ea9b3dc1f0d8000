# Wrong use of services.unified-push is refused when the system is evaluated, with what to write.
{ config, lib, ... }:

let
  cfg = config.services.unified-push;
  inherit (cfg) settings;
  at = "services.unified-push";

  secretFiles = {
    "secretFile" = cfg.secretFile;
    "previousSecretsFile" = cfg.previousSecretsFile;
    "component.secretFile" = cfg.component.secretFile;
    "store.urlFile" = cfg.store.urlFile;
    "environmentFile" = cfg.environmentFile;
  };
  inStore = file: file != null && (builtins.isPath file || lib.hasPrefix builtins.storeDir file);

  # Options of the daemon that the module sets by itself, and where to write them instead.
  secretInFile =
    option: "it would be readable by everybody; write ${at}.${option} = \"/PATH/OF/A/FILE\"";
  elsewhere = {
    "secret" = secretInFile "secretFile";
    "secret_file" = "write ${at}.secretFile";
    "previous_secrets" = secretInFile "previousSecretsFile";
    "previous_secrets_file" = "write ${at}.previousSecretsFile";
    "component.secret" = secretInFile "component.secretFile";
    "component.secret_file" = "write ${at}.component.secretFile";
    "store.url_file" = "write ${at}.store.urlFile";
    "state_dir" = ''
      the state is always in /var/lib/unified-push; to have it on another disk, mount that at
      /var/lib/private/unified-push'';
  };
  isWritten = option: lib.attrByPath (lib.splitString "." option) null settings != null;

  isPostgres = lib.hasPrefix "postgres" (toString settings.store.url) || cfg.store.urlFile != null;
  hasPassword = builtins.match "[a-z]+://[^@/]*:[^@/]+@.*" (toString settings.store.url) != null;
in
{
  config.assertions = lib.optionals cfg.enable (
    [
      {
        assertion = settings.component.domain != null;
        message = ''
          ${at} has no component. Write the name that it has in the XMPP server's configuration:
            ${at}.settings.component.domain = "up.example.org";
        '';
      }
      {
        assertion = cfg.component.secretFile != null || cfg.environmentFile != null;
        message = ''
          ${at} lacks the component's secret. Put it, as the XMPP server has it, into a file that
          only root can read, and write
            ${at}.component.secretFile = "/var/lib/secrets/unified-push-component";
        '';
      }
      {
        assertion =
          settings.backend == "jwt" -> cfg.secretFile != null || cfg.environmentFile != null;
        message = ''
          ${at}.settings.backend = "jwt" needs a secret: the one of mod_unified_push, or one from
          `unified-push gen-secret`. Put it into a file and write
            ${at}.secretFile = "/var/lib/secrets/unified-push";
        '';
      }
      {
        assertion = isPostgres -> cfg.secretFile != null || cfg.environmentFile != null;
        message = ''
          ${at} keeps its state in PostgreSQL, where several daemons may share it, and so they have
          to share the secret. Put one from `unified-push gen-secret` into a file and write
            ${at}.secretFile = "/var/lib/secrets/unified-push";
        '';
      }
      {
        assertion = !hasPassword;
        message = ''
          ${at}.settings.store.url has a password, and would be readable by everybody. Put the URL
          into a file and write
            ${at}.store.urlFile = "/var/lib/secrets/unified-push-database";
        '';
      }
      {
        assertion = lib.all (import: import ? key_file && !(import ? key)) (
          if settings.import == null then [ ] else settings.import
        );
        message = ''
          ${at}.settings.import needs a key_file in each entry, and no key, which would be readable by
          everybody: put the key into a file and write
            { kind = "up"; key_file = "/var/lib/secrets/former-key"; }
        '';
      }
      {
        assertion = settings.store.url == null || cfg.store.urlFile == null;
        message = ''
          ${at}.settings.store.url and ${at}.store.urlFile are both set: keep only one of the two.
        '';
      }
    ]
    ++ lib.mapAttrsToList (option: remedy: {
      assertion = !isWritten option;
      message = "${at}.settings.${option} does not belong there: ${remedy}";
    }) elsewhere
    ++ lib.mapAttrsToList (option: file: {
      assertion = !inStore file;
      message = ''
        ${at}.${option} is in the Nix store, which everybody can read. Put the file elsewhere and
        write its path as a string:
          ${at}.${option} = "/var/lib/secrets/NAME";
      '';
    }) secretFiles
  );
}
