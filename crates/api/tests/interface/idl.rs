//! As much of a Varlink parser as it takes to hold values against the interface file.

use serde_json::Value;
use std::{collections::BTreeMap, iter::Peekable, vec::IntoIter};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Bool,
    Int,
    Float,
    String,
    Object,
    Maybe(Box<Type>),
    Array(Box<Type>),
    Map(Box<Type>),
    Struct(BTreeMap<String, Type>),
    Enum(Vec<String>),
    Named(String),
}

#[derive(Debug, Default)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) types: BTreeMap<String, Type>,
    pub(crate) methods: BTreeMap<String, (Type, Type)>,
    pub(crate) errors: BTreeMap<String, Type>,
}

type Tokens = Peekable<IntoIter<String>>;

pub(crate) fn parse(text: &str) -> Interface {
    let mut tokens = tokens(text).into_iter().peekable();
    let mut interface = Interface::default();
    while let Some(word) = tokens.next() {
        let name = tokens.next().unwrap();
        let known = |name: &str, interface: &Interface| {
            interface.types.contains_key(name)
                || interface.methods.contains_key(name)
                || interface.errors.contains_key(name)
        };
        assert!(
            !known(&name, &interface),
            "{name} is declared twice: types, methods and errors share their names"
        );
        match word.as_str() {
            "interface" => interface.name = name,
            "type" => drop(interface.types.insert(name, read_type(&mut tokens))),
            "error" => drop(interface.errors.insert(name, read_type(&mut tokens))),
            "method" => {
                let input = read_type(&mut tokens);
                expect(&mut tokens, "->");
                interface.methods.insert(name, (input, read_type(&mut tokens)));
            }
            other => panic!("`{other}` opens no member"),
        }
    }
    interface
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap()) {
        let mut rest = line.trim_start();
        while !rest.is_empty() {
            let mark = ["[string]", "[]", "->", "(", ")", ":", ",", "?"]
                .iter()
                .find(|mark| rest.starts_with(**mark));
            let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
            let length = mark.map_or_else(|| rest.find(word).unwrap_or(rest.len()), |mark| mark.len());
            assert_ne!(length, 0, "{line}");
            tokens.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

fn expect(tokens: &mut Tokens, expected: &str) {
    assert_eq!(tokens.next().as_deref(), Some(expected));
}

fn read_type(tokens: &mut Tokens) -> Type {
    let token = tokens.next().unwrap();
    match token.as_str() {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "float" => Type::Float,
        "string" => Type::String,
        "object" => Type::Object,
        "?" => Type::Maybe(Box::new(read_type(tokens))),
        "[]" => Type::Array(Box::new(read_type(tokens))),
        "[string]" => Type::Map(Box::new(read_type(tokens))),
        "(" => read_members(tokens),
        name => {
            assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name} names no type");
            Type::Named(name.to_owned())
        }
    }
}

fn read_members(tokens: &mut Tokens) -> Type {
    let mut fields = BTreeMap::new();
    let mut values = Vec::new();
    while tokens.peek().is_some_and(|token| token != ")") {
        let name = tokens.next().unwrap();
        assert!(
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && !name.contains("__")
                && !name.contains('.'),
            "{name}"
        );
        if tokens.next_if(|token| token == ":").is_some() {
            assert!(fields.insert(name, read_type(tokens)).is_none());
        } else {
            values.push(name);
        }
        tokens.next_if(|token| token == ",");
    }
    expect(tokens, ")");
    assert!(fields.is_empty() || values.is_empty());
    if values.is_empty() { Type::Struct(fields) } else { Type::Enum(values) }
}

impl Interface {
    /// Panics where the value is not of the type: a field too many or too few counts.
    pub(crate) fn check(&self, value: &Value, expected: &Type, at: &str) {
        match (expected, value) {
            (Type::Maybe(_), Value::Null)
            | (Type::Bool, Value::Bool(_))
            | (Type::Float, Value::Number(_))
            | (Type::String, Value::String(_))
            | (Type::Object, Value::Object(_)) => {}
            (Type::Int, Value::Number(number)) if number.is_u64() || number.is_i64() => {}
            (Type::Maybe(inner), value) => self.check(value, inner, at),
            (Type::Array(inner), Value::Array(values)) => {
                values.iter().for_each(|value| self.check(value, inner, at));
            }
            (Type::Map(inner), Value::Object(values)) => {
                values.values().for_each(|value| self.check(value, inner, at));
            }
            (Type::Enum(known), Value::String(value)) => assert!(known.contains(value), "{at}: {value}"),
            (Type::Named(name), value) => {
                self.check(value, self.types.get(name).unwrap_or_else(|| panic!("{name}")), at);
            }
            (Type::Struct(fields), Value::Object(values)) => {
                for name in values.keys() {
                    assert!(fields.contains_key(name), "{at}: the file does not declare `{name}`");
                }
                for (name, inner) in fields {
                    let value = values.get(name).unwrap_or(&Value::Null);
                    self.check(value, inner, &format!("{at}.{name}"));
                }
            }
            (expected, value) => panic!("{at}: {value} is no {expected:?}"),
        }
    }
}
