{
  lib,
  rustPlatform,
  stdenv,
}:

let
  inherit (lib) fileset;
  manifest = lib.importTOML ../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = manifest.package.name;
  inherit (manifest.package) version;

  src = fileset.toSource {
    root = ../.;
    fileset = fileset.unions [
      ../.cargo
      ../Cargo.toml
      ../Cargo.lock
      ../benches
      ../docs
      ../src
      ../testbed
      ../tests
      ../unified-push.example.toml
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  # The other tests want real XMPP servers: nix/tests has those.
  cargoTestFlags = [ "--lib" ];

  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/unified-push manual $out/share
  '';

  meta = {
    inherit (manifest.package) description;
    license = lib.licenses.asl20;
    mainProgram = "unified-push";
    platforms = lib.platforms.linux;
  };
}
