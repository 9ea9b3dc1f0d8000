# A stand-in for the few parts of nixpkgs' lib that the module needs, so that it can be evaluated
# where nixpkgs is not at hand. It is strict: what it does not know is an error.
let
  inherit (builtins)
    all
    any
    attrNames
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    hasAttr
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isPath
    isString
    length
    listToAttrs
    mapAttrs
    sort
    stringLength
    substring
    tail
    toJSON
    ;

  isOfType = type: value: isAttrs value && value._type or null == type;

  # Definitions may be wrapped in mkIf, mkMerge, mkOverride and mkOrder. This takes the wrapping off:
  # value -> [ { value; priority; order; } ]
  unwrap =
    value:
    if isOfType "if" value then
      if value.condition then unwrap value.content else [ ]
    else if isOfType "merge" value then
      concatMap unwrap value.contents
    else if isOfType "override" value then
      map (definition: definition // { inherit (value) priority; }) (unwrap value.content)
    else if isOfType "order" value then
      map (definition: definition // { inherit (value) order; }) (unwrap value.content)
    else
      [
        {
          inherit value;
          priority = 100;
          order = 1000;
        }
      ];

  # The values that count: of the strongest priority, in order.
  strongest =
    definitions:
    let
      best = foldl' (best: d: if d.priority < best then d.priority else best) 9999 definitions;
      kept = filter (d: d.priority == best) definitions;
    in
    map (d: d.value) (sort (a: b: a.order < b.order) kept);

  # Carries mkIf and mkMerge around a set into the set, without looking at the condition: that may
  # depend on what is being defined.
  pushDown =
    value:
    if isOfType "if" value then
      map (mapAttrs (_: lib.mkIf value.condition)) (pushDown value.content)
    else if isOfType "merge" value then
      concatMap pushDown value.contents
    else
      [ value ];

  under = name: sets: map (set: set.${name}) (filter (hasAttr name) sets);
  names = sets: attrNames (foldl' (a: b: a // b) { } sets);
  join = location: name: if location == "" then name else "${location}.${name}";

  one =
    location: values:
    if all (value: value == head values) values then
      head values
    else
      throw "The option `${location}' has conflicting definition values.";

  # Sets are merged, lists joined, anything else has to be the same.
  mergeAnything =
    location: raw:
    let
      values = strongest (concatMap unwrap raw);
    in
    if all isAttrs values && !any (value: value ? outPath) values then
      mapAttrs (name: _: mergeAnything (join location name) (under name values)) (
        foldl' (a: b: a // b) { } (
          map (lib.filterAttrs (_: value: concatMap unwrap [ value ] != [ ])) values
        )
      )
    else if all isList values then
      concatLists values
    else
      one location values;

  # A type merges raw definitions: location -> [ value ] -> value.
  simple = description: check: rec {
    inherit description check;
    merge = location: values: one location (map (checked location check description) values);
  };
  checked =
    location: check: description: value:
    if check value then
      value
    else
      throw "A definition for option `${location}' is not of type `${description}'.";

  types = {
    bool = simple "boolean" isBool;
    str = simple "string" isString;
    port = simple "16 bit unsigned integer" (value: isInt value && 0 <= value && value <= 65535);
    ints.positive = simple "positive integer" (value: isInt value && value > 0);
    path = simple "absolute path" (
      value: isPath value || value ? outPath || (isString value && substring 0 1 value == "/")
    );
    package = simple "package" isAttrs;
    enum =
      values: simple "one of ${concatStringsSep ", " (map toJSON values)}" (value: elem value values);
    lines = types.str // {
      merge =
        location: values:
        concatStringsSep "\n" (map (checked location isString "strings concatenated with \"\\n\"") values);
    };
    anything = {
      description = "anything";
      check = _: true;
      merge = mergeAnything;
    };
    either =
      a: b:
      let
        check = value: a.check value || b.check value;
      in
      simple "${a.description} or ${b.description}" check;
    nullOr =
      type:
      type
      // {
        description = "null or ${type.description}";
        check = value: value == null || type.check value;
        merge =
          location: values:
          if all (value: value == null) values then
            null
          else
            type.merge location (
              map (checked location (value: value != null) type.description) values
            );
      };
    listOf = type: {
      description = "list of ${type.description}";
      check = value: isList value && all type.check value;
      merge =
        location: values:
        map (value: type.merge location [ value ]) (
          concatMap (checked location isList "list of ${type.description}") values
        );
    };
    attrsOf = type: {
      description = "attribute set of ${type.description}";
      check = isAttrs;
      merge =
        location: values:
        mapAttrs (
          name: _:
          type.merge (join location name) (strongest (concatMap unwrap (under name (concatMap pushDown values))))
        ) (foldl' (a: b: a // b) { } (concatMap pushDown values));
    };
    submodule = module: {
      description = "submodule";
      check = isAttrs;
      inherit module;
      merge =
        location: values:
        (evaluate location { } ([ module ] ++ map (value: { config = value; }) values)).config;
    };
  };

  # [ module ] -> { config; options; }
  evaluate =
    prefix: arguments: modules:
    let
      load =
        module:
        let
          value = if isPath module || isString module then import module else module;
          body = if isFunction value then value (arguments // { inherit config lib; }) else value;
          isWritten = body ? config || body ? options;
          reserved = [
            "imports"
            "freeformType"
          ];
        in
        concatMap load (body.imports or [ ])
        ++ [
          {
            options = body.options or { };
            config = if isWritten then body.config or { } else removeAttrs body reserved;
            free = body ? freeformType;
          }
        ];
      loaded = concatMap load modules;
      isFree = any (module: module.free) loaded;

      mergeOptions =
        a: b:
        a
        // mapAttrs (
          name: value: if a ? ${name} && !isOfType "option" value then mergeOptions a.${name} value else value
        ) b;
      options = foldl' mergeOptions { } (map (module: module.options) loaded);

      level =
        location: options: raw:
        let
          sets = concatMap pushDown raw;
          unknown = filter (name: !options ? ${name}) (names sets);
          free = listToAttrs (
            map (name: {
              inherit name;
              value = mergeAnything (join location name) (under name sets);
            }) unknown
          );
        in
        mapAttrs (
          name: option:
          let
            here = join location name;
            defined = under name sets;
          in
          if isOfType "option" option then merged here option defined else level here option defined
        ) options
        // (
          if unknown == [ ] then
            { }
          else if isFree then
            free
          else
            throw "The option `${join location (head unknown)}' does not exist."
        );

      merged =
        location: option: raw:
        let
          default = map (value: (head (unwrap value)) // { priority = 1500; }) (
            lib.optional (option ? default) option.default
          );
          values = strongest (concatMap unwrap raw ++ default);
        in
        if values == [ ] then
          throw "The option `${location}' was accessed but has no value defined. Try setting the option."
        else
          option.type.merge location values;

      config = level prefix options (map (module: module.config) loaded);
    in
    {
      inherit config options;
    };

  lib = {
    inherit types;
    evalModules =
      {
        modules,
        specialArgs ? { },
      }:
      evaluate "" specialArgs modules;

    assertMsg = holds: message: holds || throw message;

    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      what:
      lib.mkOption {
        type = types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkOverride = priority: content: {
      _type = "override";
      inherit priority content;
    };
    mkDefault = lib.mkOverride 1000;
    mkForce = lib.mkOverride 50;
    mkAfter = content: {
      _type = "order";
      order = 1500;
      inherit content;
    };
    literalExpression = text: {
      _type = "literalExpression";
      inherit text;
    };

    inherit
      all
      any
      concatMap
      concatStringsSep
      mapAttrs
      ;
    attrValues = builtins.attrValues;
    last = list: builtins.elemAt list (length list - 1);
    toInt = builtins.fromJSON;
    importTOML = file: builtins.fromTOML (builtins.readFile file);
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    concatMapStringsSep =
      separator: f: values:
      concatStringsSep separator (map f values);
    filterAttrs =
      keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    filterAttrsRecursive =
      keep: set:
      mapAttrs (_: value: if isAttrs value then lib.filterAttrsRecursive keep value else value) (
        lib.filterAttrs keep set
      );
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    nameValuePair = name: value: { inherit name value; };
    imap0 = f: list: builtins.genList (index: f index (builtins.elemAt list index)) (builtins.length list);
    mapAttrs' = f: set: listToAttrs (lib.mapAttrsToList f set);
    attrByPath =
      path: default: set:
      if path == [ ] then
        set
      else if isAttrs set && set ? ${head path} then
        lib.attrByPath (tail path) default set.${head path}
      else
        default;
    genAttrs =
      names: f:
      listToAttrs (
        map (name: {
          inherit name;
          value = f name;
        }) names
      );
    recursiveUpdate =
      a: b:
      a
      // mapAttrs (
        name: value:
        if isAttrs value && isAttrs (a.${name} or null) then lib.recursiveUpdate a.${name} value else value
      ) b;
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    hasInfix = infix: text: length (builtins.split (lib.escapeRegex infix) text) > 1;
    removePrefix =
      prefix: text:
      if lib.hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
    splitString = separator: text: filter isString (builtins.split (lib.escapeRegex separator) text);
    escapeRegex =
      let
        special = [ "\\" "[" "{" "(" ")" "^" "$" "?" "*" "+" "|" "." ];
      in
      builtins.replaceStrings special (map (c: "\\${c}") special);
    escapeShellArg =
      value: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString value)}'";
    # The stand-in builds nothing of our own.
    fileset = {
      toSource = source: source.root;
      unions = files: files;
    };
    licenses.asl20 = "Apache-2.0";
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    getExe = package: "${package}/bin/${package.meta.mainProgram}";
  };
in
lib
