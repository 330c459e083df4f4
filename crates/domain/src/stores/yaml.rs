//! Small YAML files of apps, as a flat list: `files.0.sha256` and its text. Aliases are never expanded, tags mean
//! nothing; what comes before a mistake counts.

use saphyr_parser::{Event, Parser};

/// Settings of apps are a few KiB; a gallery's entry with a long description some tens. What is read has no more.
const LONGEST: usize = 1 << 20;
/// Deeper values are left out.
const DEEPEST: usize = 8;
/// The top and its lists: cards have thousands of results below that, before what matters.
const SHALLOW: usize = 2;
/// Values beyond these are left out.
const MOST: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Yaml(Vec<(String, String)>);

/// A mapping waits for a key or for that key's value; a list counts.
enum Level {
    Mapping(Option<String>),
    List(usize),
}

impl Yaml {
    /// None where the text is no mapping: damaged, or still being written.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        Self::to_depth(bytes, DEEPEST)
    }

    /// The same, with nothing but the texts at the top and the lists of texts there.
    pub(super) fn shallow(bytes: &[u8]) -> Option<Self> {
        Self::to_depth(bytes, SHALLOW)
    }

    fn to_depth(bytes: &[u8], deepest: usize) -> Option<Self> {
        let text = std::str::from_utf8(bytes.get(..LONGEST).unwrap_or(bytes)).ok()?;
        let events = Parser::new_from_str(text).map_while(Result::ok).map(|(event, _)| event);
        let mut reader = Reader { found: Vec::new(), levels: Vec::new(), is_mapping: false, deepest };
        for event in events {
            if reader.found.len() >= MOST {
                break;
            }
            reader.take(&event);
        }
        reader.is_mapping.then_some(Self(reader.found))
    }

    /// Returns the text at a path, where it says something.
    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|(at, _)| at == path).map(|(_, text)| text.as_str())
    }

    /// Returns the texts of a list at a path, or the one text that stands for a list.
    pub(super) fn all(&self, path: &str) -> impl Iterator<Item = &str> {
        let is_of = move |at: &str| {
            let rest = at.strip_prefix(path);
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('.').is_some_and(|one| !one.contains('.'))
            })
        };
        self.0.iter().filter(move |(at, _)| is_of(at)).map(|(_, text)| text.as_str())
    }

    /// Returns every value with its path.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(at, text)| (at.as_str(), text.as_str()))
    }
}

struct Reader {
    found: Vec<(String, String)>,
    levels: Vec<Level>,
    is_mapping: bool,
    deepest: usize,
}

impl Reader {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Scalar(text, ..) => match self.levels.last_mut() {
                Some(Level::Mapping(key @ None)) => *key = Some(text.clone().into_owned()),
                _ => {
                    self.put(text);
                    self.next();
                }
            },
            Event::Alias(_) => match self.levels.last_mut() {
                Some(Level::Mapping(key @ None)) => *key = Some(String::new()),
                _ => self.next(),
            },
            Event::MappingStart(..) => {
                self.is_mapping |= self.levels.is_empty();
                self.open(Level::Mapping(None));
            }
            Event::SequenceStart(..) => self.open(Level::List(0)),
            Event::MappingEnd | Event::SequenceEnd => {
                drop(self.levels.pop());
                self.next();
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }

    /// A key that is no text (`? [a, b] : c`) gets an empty name.
    fn open(&mut self, level: Level) {
        if let Some(Level::Mapping(key @ None)) = self.levels.last_mut() {
            *key = Some(String::new());
        }
        self.levels.push(level);
    }

    fn next(&mut self) {
        match self.levels.last_mut() {
            Some(Level::Mapping(key)) => *key = None,
            Some(Level::List(number)) => *number += 1,
            None => {}
        }
    }

    fn put(&mut self, text: &str) {
        if self.levels.len() > self.deepest || matches!(text, "" | "~" | "null") {
            return;
        }
        let parts = self.levels.iter().map(|level| match level {
            Level::Mapping(key) => key.clone().unwrap_or_default(),
            Level::List(number) => number.to_string(),
        });
        let path = parts.collect::<Vec<_>>().join(".");
        self.found.push((path, text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_path() {
        let text = "name: a\nparameters:\n  model: x.gguf\nfiles:\n- filename: x.gguf\n  sha256: ab\n- filename: y\nurls: [u, v]\nnone: ~\none: w\n";
        let yaml = Yaml::parse(text.as_bytes()).unwrap();
        assert_eq!((yaml.get("name"), yaml.get("parameters.model")), (Some("a"), Some("x.gguf")));
        assert_eq!((yaml.get("files.1.filename"), yaml.get("files.0.sha256")), (Some("y"), Some("ab")));
        assert_eq!(yaml.all("urls").collect::<Vec<_>>(), ["u", "v"]);
        assert_eq!((yaml.all("one").collect::<Vec<_>>(), yaml.get("none")), (vec!["w"], None));
    }

    #[test]
    fn hostile_text_costs_little() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned();
        for no in 1..40 {
            bomb += &format!("a{no}: &a{no} [{}]\n", vec![format!("*a{}", no - 1); 9].join(","));
        }
        let yaml = Yaml::parse((bomb + "name: n\n").as_bytes()).unwrap();
        assert_eq!(yaml.get("name"), Some("n"));
        let deep = Yaml::parse(format!("name: n\nx: {}\n", "[".repeat(100_000)).as_bytes()).unwrap();
        assert_eq!(deep.get("name"), Some("n"));
        assert!(Yaml::parse(&[b'\xff'; 10]).is_none());
        assert!(Yaml::parse(b"").is_none());
        assert!(Yaml::parse(b"- a\n").is_none());
        let odd = Yaml::parse(b"? [a, b]\n: c\n? *x\n: d\nname: n\n").map(|yaml| yaml.get("name").is_some());
        assert_ne!(odd, None);
    }
}
