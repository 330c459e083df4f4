//! Holds the types against the interface file, so that neither drifts from the other.

#[cfg(test)]
mod examples;
#[cfg(test)]
mod idl;
#[cfg(test)]
mod launches;
#[cfg(test)]
mod values;

use api::{INTERFACE, INTERFACE_FILE};
use domain::{
    App, Basis, CompanionRole, Confidence, Format, Kind, LicenseClass, Link, Relation, Role, Safety,
    SourceKind, State, Verification,
};
use idl::{Interface, Type};
use std::collections::BTreeSet;

fn interface() -> Interface {
    idl::parse(INTERFACE_FILE)
}

fn short(name: &str) -> &str {
    name.strip_prefix(INTERFACE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name)
}

#[test]
fn the_file_is_of_this_interface() {
    assert_eq!(interface().name, INTERFACE);
}

#[test]
fn every_request_and_its_reply_are_declared() {
    let interface = interface();
    let mut seen = BTreeSet::new();
    for (request, replies) in examples::exchanges() {
        let call = serde_json::to_value(&request).unwrap();
        let name = short(call["method"].as_str().unwrap()).to_owned();
        let (input, output) =
            interface.methods.get(&name).unwrap_or_else(|| panic!("{name} is not declared"));
        interface.check(&call["parameters"], input, &name);
        replies.iter().for_each(|reply| interface.check(reply, output, &name));
        // An example that leaves a field out would let the file declare anything there.
        let Type::Struct(fields) = output else { panic!("{name} does not answer with fields") };
        for field in fields.keys() {
            let shown = replies.iter().any(|reply| reply.get(field).is_some_and(|value| !value.is_null()));
            assert!(shown, "no example of {name} has `{field}`");
        }
        seen.insert(name);
    }
    assert_eq!(interface.methods.keys().cloned().collect::<BTreeSet<_>>(), seen);
}

#[test]
fn what_the_file_lets_be_left_out_can_be_left_out() {
    for (method, parameters) in [
        ("List", "{}"),
        ("Tag", r#"{"model":"m"}"#),
        ("Note", r#"{"model":"m"}"#),
        ("Alias", r#"{"model":"m"}"#),
        ("Plan", r#"{"engine":"e","model":"m"}"#),
        ("Launch", r#"{"engine":"e","model":"m"}"#),
        ("Inspect", r#"{"path":"/m"}"#),
        ("Hardware", "{}"),
        ("Engines", "{}"),
        ("AddEngine", r#"{"path":"/m"}"#),
        ("Logs", r#"{"run":"r"}"#),
        ("Verify", "{}"),
    ] {
        let call = format!(r#"{{"method":"{INTERFACE}.{method}","parameters":{parameters}}}"#);
        serde_json::from_str::<api::Request>(&call).unwrap_or_else(|error| panic!("{call}: {error}"));
    }
}

#[test]
fn every_error_is_declared() {
    let interface = interface();
    let mut seen = BTreeSet::new();
    for error in examples::errors() {
        let value = serde_json::to_value(&error).unwrap();
        let name = value["error"].as_str().unwrap();
        if name.starts_with("org.varlink.service.") {
            continue;
        }
        let declared = interface.errors.get(short(name)).unwrap_or_else(|| panic!("{name} is not declared"));
        interface.check(&value["parameters"], declared, name);
        seen.insert(short(name).to_owned());
    }
    assert_eq!(interface.errors.keys().cloned().collect::<BTreeSet<_>>(), seen);
}

#[test]
fn closed_lists_have_all_their_values() {
    let interface = interface();
    let check = |name: &str, values: Vec<&str>| {
        assert_eq!(
            interface.types[name],
            Type::Enum(values.iter().map(|value| (*value).to_owned()).collect())
        );
    };
    check("State", State::ALL.iter().map(|value| value.name()).collect());
    check("Safety", Safety::ALL.iter().map(|value| value.name()).collect());
    check("Verification", Verification::ALL.iter().map(|value| value.name()).collect());
    check("Confidence", Confidence::ALL.iter().map(|value| value.name()).collect());
    check("Relation", Relation::ALL.iter().map(|value| value.name()).collect());
    check("Link", Link::ALL.iter().map(|value| value.name()).collect());

    let comments: Vec<&str> = INTERFACE_FILE.lines().filter_map(|line| line.strip_prefix('#')).collect();
    let comments = comments.concat();
    let listed = |label: &str, values: Vec<&str>| {
        let list = format!("{label}: {}.", values.join(", "));
        let squeezed = comments.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(&list), "no comment says: {list}");
    };
    listed("app", App::ALL.iter().map(|value| value.name()).collect());
    listed("format", Format::ALL.iter().map(|value| value.name()).collect());
    listed("kind", Kind::ALL.iter().map(|value| value.name()).collect());
    listed("kind", SourceKind::ALL.iter().map(|value| value.name()).collect());
    listed("license_class", LicenseClass::ALL.iter().map(|value| value.name()).collect());
    listed("role", Role::ALL.iter().map(|value| value.name()).collect());
    listed("role", CompanionRole::ALL.iter().map(|value| value.name()).collect());
    listed("basis", Basis::ALL.iter().map(|value| value.name()).collect());
}
