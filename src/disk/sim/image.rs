//! What a medium holds: names, and the bytes of files.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory, by its number.
    Dir(usize),
    /// A file, by its number.
    File(usize),
}

/// A name that comes to stand for something, or for nothing.
#[derive(Clone, Debug)]
pub struct Change {
    /// The directory.
    pub dir: usize,
    /// The name in it.
    pub name: String,
    /// What it stands for from then on.
    pub node: Option<Node>,
}

/// The names of a disk; directory 0 is the root.
#[derive(Clone, Debug)]
pub struct Tree {
    dirs: Vec<BTreeMap<String, Node>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { dirs: vec![BTreeMap::new()] }
    }
}

impl Tree {
    /// Makes an empty directory without a name; its number.
    pub fn add_dir(&mut self) -> usize {
        self.dirs.push(BTreeMap::new());
        self.dirs.len() - 1
    }

    /// Makes sure that there are so many directories.
    pub fn grow(&mut self, dirs: usize) {
        if self.dirs.len() < dirs {
            self.dirs.resize_with(dirs, BTreeMap::new);
        }
    }

    /// How many directories have ever been made.
    pub fn dirs(&self) -> usize {
        self.dirs.len()
    }

    /// What a path stands for.
    pub fn find(&self, path: &str) -> Option<Node> {
        if path.is_empty() {
            return Some(Node::Dir(0));
        }
        let (dir, name) = self.place(path)?;
        self.dirs[dir].get(name).copied()
    }

    /// The directory of a path, and the name in it.
    pub fn place<'p>(&self, path: &'p str) -> Option<(usize, &'p str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.find(dir)? {
            Node::Dir(dir) => Some((dir, name)),
            Node::File(_) => None,
        }
    }

    /// The names of a directory.
    pub fn names(&self, dir: usize) -> impl Iterator<Item = (&String, Node)> {
        self.dirs[dir].iter().map(|(name, node)| (name, *node))
    }

    /// Changes a name.
    pub fn apply(&mut self, change: &Change) {
        match change.node {
            Some(node) => self.dirs[change.dir].insert(change.name.clone(), node),
            None => self.dirs[change.dir].remove(&change.name),
        };
    }

    /// All files that have a name, with their paths, in order.
    pub fn files(&self) -> Vec<(String, usize)> {
        let (mut found, mut open) = (Vec::new(), vec![(String::new(), 0)]);
        while let Some((prefix, dir)) = open.pop() {
            for (name, node) in self.names(dir) {
                match node {
                    Node::File(file) => found.push((format!("{prefix}{name}"), file)),
                    Node::Dir(dir) => open.push((format!("{prefix}{name}/"), dir)),
                }
            }
        }
        found.sort();
        found
    }
}

/// Bytes that are shared between images.
#[derive(Debug, Default)]
pub struct Bytes {
    bytes: Vec<u8>,
    digest: OnceLock<u128>,
}

impl Bytes {
    /// Of a file.
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes, digest: OnceLock::new() })
    }

    /// Tells equal bytes.
    fn digest(&self) -> u128 {
        *self.digest.get_or_init(|| xxh3_128(&self.bytes))
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A file of an image.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// What it holds.
    pub bytes: Arc<Bytes>,
    /// Its permission bits.
    pub mode: u32,
}

/// What a medium holds.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The names.
    pub(super) tree: Tree,
    /// The files, by their numbers.
    pub(super) files: Vec<Content>,
}

impl Image {
    /// Equal for equal names of files, bytes and modes.
    pub fn fingerprint(&self) -> u128 {
        let mut hash = Xxh3::new();
        for (path, file) in self.tree.files() {
            let content = &self.files[file];
            hash.update(path.as_bytes());
            hash.update(&content.bytes.digest().to_le_bytes());
            hash.update(&content.mode.to_le_bytes());
        }
        hash.digest128()
    }

    /// The files, as paths and bytes.
    pub fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.tree.files().into_iter().map(|(path, file)| (path, &**self.files[file].bytes))
    }

    /// Forgets the files that have no name.
    pub(super) fn pruned(mut self) -> Self {
        let mut is_named = vec![false; self.files.len()];
        self.tree.files().iter().for_each(|(_, file)| is_named[*file] = true);
        for (file, _) in is_named.iter().enumerate().filter(|(_, named)| !**named) {
            self.files[file] = Content::default();
        }
        self
    }
}
