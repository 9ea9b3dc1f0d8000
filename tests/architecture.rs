//! Who may import whom. `ARCHITECTURE.md` gives the reasons. The code is read with its tests left
//! out: these may use what they like.
//!
//! A room is a top-level module. `cargo test --test architecture -- --nocapture` prints how many
//! rooms, arrows and circles there are.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Item, ItemMod, UseTree, visit::Visit};

/// The rooms from the ground up, each with the rooms that it imports. All of them stand before it.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("metrics", &[]),
    ("tls", &[]),
    ("link", &["model"]),
    ("store", &["link", "model", "tls"]),
    ("token", &["model", "store"]),
    ("config", &["model", "store", "tls", "token"]),
    ("runtime", &["config", "metrics"]),
    ("xmpp", &["link", "metrics", "model", "tls"]),
    ("demo", &["model", "xmpp"]),
    ("registrar", &["link", "metrics", "model", "store", "token"]),
    ("delivery", &["link", "metrics", "model", "store", "token"]),
    ("http", &["delivery", "metrics", "model", "runtime"]),
    (
        "app",
        &[
            "config",
            "delivery",
            "http",
            "link",
            "metrics",
            "model",
            "registrar",
            "runtime",
            "store",
            "token",
            "xmpp",
        ],
    ),
    (
        "cli",
        &[
            "app", "config", "demo", "http", "model", "runtime", "store", "tls", "token", "xmpp",
        ],
    ),
];

/// Crates that a room must not name: the use cases know neither HTTP nor XML nor a database.
const FOREIGN: &[(&str, &[&str])] = &[
    (
        "delivery",
        &[
            "axum",
            "hyper",
            "quick_xml",
            "rusqlite",
            "tokio_postgres",
            "tokio_xmpp",
            "xmpp_parsers",
        ],
    ),
    (
        "registrar",
        &[
            "axum",
            "hyper",
            "quick_xml",
            "rusqlite",
            "tokio_postgres",
            "tokio_xmpp",
            "xmpp_parsers",
        ],
    ),
    (
        "http",
        &[
            "quick_xml",
            "rusqlite",
            "tokio_postgres",
            "tokio_xmpp",
            "xmpp_parsers",
        ],
    ),
    (
        "xmpp",
        &[
            "axum",
            "hyper",
            "jsonwebtoken",
            "pasetors",
            "rusqlite",
            "tokio_postgres",
        ],
    ),
];

#[test]
fn no_room_imports_one_above_it() {
    let house = House::read();
    let arrows = house.arrows_between_rooms();
    let mut below = BTreeSet::new();
    for (room, allowed) in ROOMS {
        let upward: Vec<_> = allowed
            .iter()
            .filter(|other| !below.contains(*other))
            .collect();
        assert!(
            upward.is_empty(),
            "{room} must stand above {upward:?} in the table"
        );
        below.insert(room);
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let found = arrows.get(*room).cloned().unwrap_or_default();
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(
            found, allowed,
            "what {room} imports (left) is not what the table says"
        );
    }
    let known: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let rooms = house.rooms();
    let rooms: BTreeSet<&str> = rooms.iter().map(String::as_str).collect();
    assert_eq!(rooms, known, "a room (left) has no place in the table");
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    println!("{} rooms, {count} arrows, 0 upward", rooms.len());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let house = House::read();
    let circles = house.circles();
    println!("{} files, {} circles", house.files.len(), circles.len());
    assert!(
        circles.is_empty(),
        "files import each other in a circle: {circles:#?}"
    );
}

#[test]
fn use_cases_know_neither_http_nor_xml() {
    let house = House::read();
    for (room, foreign) in FOREIGN {
        for file in house
            .files
            .values()
            .filter(|file| file.path.first().is_some_and(|r| r == room))
        {
            let named = foreign.iter().find(|name| file.names.contains(**name));
            assert_eq!(
                named,
                None,
                "{} must not use this crate",
                file.path.join("::")
            );
        }
    }
}

/// The source, file by file.
struct House {
    /// By the path of their module: the empty one is the crate's root.
    files: BTreeMap<Vec<String>, File>,
}

struct File {
    path: Vec<String>,
    /// What it imports, as absolute paths within the crate.
    imports: BTreeSet<Vec<String>>,
    /// Names that it hands on, with the paths that they come from.
    reexports: BTreeMap<String, Vec<String>>,
    /// The first segment of each path.
    names: BTreeSet<String>,
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut house = Self {
            files: BTreeMap::new(),
        };
        house.collect(&root.join("lib.rs"), &root, Vec::new());
        house
    }

    /// Reads a file and the modules that it declares, which lie in `dir`.
    fn collect(&mut self, file: &Path, dir: &Path, path: Vec<String>) {
        let text = fs::read_to_string(file).unwrap();
        let syntax = syn::parse_file(&text).unwrap();
        let mut reader = Reader {
            file: File {
                path: path.clone(),
                imports: BTreeSet::new(),
                reexports: BTreeMap::new(),
                names: BTreeSet::new(),
            },
            children: Vec::new(),
        };
        reader.visit_file(&syntax);
        for child in reader.children {
            let place: PathBuf = dir.join(&child);
            let below = [path.clone(), vec![child]].concat();
            self.collect(&place.with_extension("rs"), &place, below);
        }
        self.files.insert(path, reader.file);
    }

    fn rooms(&self) -> BTreeSet<String> {
        self.files
            .keys()
            .filter_map(|path| path.first().cloned())
            .collect()
    }

    fn arrows_between_rooms(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in self.files.values() {
            let Some(room) = file.path.first() else {
                continue;
            };
            let others = file.imports.iter().filter_map(|import| import.first());
            let others = others.filter(|other| *other != room).cloned();
            arrows.entry(room.clone()).or_default().extend(others);
        }
        arrows
    }

    /// The file that defines what a path names: follows what files hand on.
    fn home<'a>(&'a self, import: &[String]) -> Option<&'a [String]> {
        let len = (0..=import.len())
            .rev()
            .find(|len| self.files.contains_key(&import[..*len]))?;
        let (path, file) = self.files.get_key_value(&import[..len])?;
        let handed_on = import.get(len).and_then(|name| file.reexports.get(name));
        match handed_on {
            Some(origin) if origin != import => self.home(origin),
            _ => Some(path),
        }
    }

    /// Files that import each other, directly or through others. That a module uses those that it
    /// declares is no arrow: they are its parts.
    fn circles(&self) -> BTreeSet<Vec<String>> {
        let arrows: BTreeMap<&[String], BTreeSet<&[String]>> = self
            .files
            .iter()
            .map(|(path, file)| {
                let homes = file.imports.iter().filter_map(|import| self.home(import));
                (
                    &path[..],
                    homes.filter(|home| !home.starts_with(path)).collect(),
                )
            })
            .collect();
        let reached = |start| {
            let (mut reached, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(file) = open.pop() {
                let next = arrows.get(file).into_iter().flatten().copied();
                open.extend(next.filter(|next| reached.insert(*next)));
            }
            reached
        };
        let reached: BTreeMap<&[String], BTreeSet<&[String]>> =
            arrows.keys().map(|file| (*file, reached(*file))).collect();
        let in_circle = |file: &[String]| reached[file].contains(file);
        let circle = |file: &[String]| {
            let others = reached[file]
                .iter()
                .filter(|other| reached[**other].contains(file));
            others.map(|other| other.join("::")).collect()
        };
        arrows
            .keys()
            .filter(|file| in_circle(file))
            .map(|file| circle(file))
            .collect()
    }
}

/// Collects what one file imports and declares.
struct Reader {
    file: File,
    children: Vec<String>,
}

impl Reader {
    /// An absolute path within the crate; None when it leads out of it.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = self.file.path.clone();
        let mut rest = path.iter().peekable();
        match rest.next()?.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
                while rest.next_if(|segment| *segment == "super").is_some() {
                    base.pop();
                }
            }
            _ => return None,
        }
        base.extend(rest.filter(|segment| *segment != "self").cloned());
        Some(base)
    }

    fn import(&mut self, path: &[String]) {
        self.file.names.extend(path.first().cloned());
        self.file.imports.extend(self.absolute(path));
    }

    fn tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
            UseTree::Glob(_) => self.import(before),
            UseTree::Name(name) => self.named(&with(&name.ident), name.ident.to_string()),
            UseTree::Rename(rename) => self.named(&with(&rename.ident), rename.rename.to_string()),
        }
    }

    fn named(&mut self, path: &[String], name: String) {
        self.import(path);
        if let Some(origin) = self.absolute(path) {
            self.file.reexports.insert(name, origin);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !attributes.iter().any(is_for_tests) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        match &module.content {
            None => self.children.push(module.ident.to_string()),
            Some(_) => syn::visit::visit_item_mod(self, module),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if segments.len() > 1 {
            self.import(&segments);
        }
        syn::visit::visit_path(self, path);
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"))
}
