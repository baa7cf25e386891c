//! What may change between two versions of the contract, and what breaks whoever is one
//! version behind. The rules have the names that Buf has for them
//! (<https://buf.build/docs/breaking/rules/>), where it has them.

use std::fmt::{self, Debug};

use protox::prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, OneofDescriptorProto, ServiceDescriptorProto,
};

/// A change that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breaking {
    /// `FIELD_NO_DELETE`.
    pub(crate) rule: &'static str,
    /// `netting.v1.Hello.version`.
    pub(crate) what: String,
    /// What it was, and what it is.
    pub(crate) how: String,
}

impl fmt::Display for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, what, how } = self;
        write!(f, "{rule}: {what} {how}")
    }
}

/// Everything of a package, by its full name.
#[derive(Default)]
struct Package<'a> {
    messages: Vec<(String, &'a DescriptorProto)>,
    enums: Vec<(String, &'a EnumDescriptorProto)>,
    services: Vec<(String, &'a ServiceDescriptorProto)>,
}

/// What of `before` is no longer so `after`. Whatever is new is allowed.
pub(crate) fn breaking(before: &FileDescriptorSet, after: &FileDescriptorSet) -> Vec<Breaking> {
    let (before, after) = (Package::of(before), Package::of(after));
    let mut found = Found::default();
    for (name, was) in &before.messages {
        if let Some(is) = found.still("MESSAGE_NO_DELETE", name, &after.messages) {
            message(&mut found, name, was, is);
        }
    }
    for (name, was) in &before.enums {
        if let Some(is) = found.still("ENUM_NO_DELETE", name, &after.enums) {
            enumeration(&mut found, name, was, is);
        }
    }
    for (name, was) in &before.services {
        if let Some(is) = found.still("SERVICE_NO_DELETE", name, &after.services) {
            service(&mut found, name, was, is);
        }
    }
    found.0
}

impl<'a> Package<'a> {
    fn of(files: &'a FileDescriptorSet) -> Self {
        let mut package = Self::default();
        for file in &files.file {
            let scope = file.package();
            package.add(scope, &file.message_type, &file.enum_type);
            let services = file.service.iter();
            let named = services.map(|one| (format!("{scope}.{}", one.name()), one));
            package.services.extend(named);
        }
        package
    }

    fn add(
        &mut self,
        scope: &str,
        messages: &'a [DescriptorProto],
        enums: &'a [EnumDescriptorProto],
    ) {
        let named = enums
            .iter()
            .map(|one| (format!("{scope}.{}", one.name()), one));
        self.enums.extend(named);
        for message in messages {
            let name = format!("{scope}.{}", message.name());
            self.add(&name, &message.nested_type, &message.enum_type);
            self.messages.push((name, message));
        }
    }
}

#[derive(Default)]
struct Found(Vec<Breaking>);

impl Found {
    fn add(&mut self, rule: &'static str, what: &str, how: String) {
        self.0.push(Breaking {
            rule,
            what: what.to_owned(),
            how,
        });
    }

    /// What has this name now; without it the rule is broken.
    fn still<'a, T: ?Sized>(
        &mut self,
        rule: &'static str,
        name: &str,
        all: &[(String, &'a T)],
    ) -> Option<&'a T> {
        let found = all.iter().find(|(known, _)| known == name);
        if found.is_none() {
            self.add(rule, name, "is gone".to_owned());
        }
        found.map(|(_, one)| *one)
    }

    fn same<T: PartialEq + Debug>(&mut self, rule: &'static str, what: &str, was: T, is: T) {
        if was != is {
            self.add(rule, what, format!("was {was:?}, and is {is:?}"));
        }
    }
}

fn message(found: &mut Found, name: &str, was: &DescriptorProto, is: &DescriptorProto) {
    for old in &was.field {
        let what = format!("{name}.{}", old.name());
        let number = old.number();
        let Some(new) = is.field.iter().find(|new| new.number() == number) else {
            let how = format!("with the number {number} is gone");
            found.add("FIELD_NO_DELETE", &what, how);
            continue;
        };
        found.same("FIELD_SAME_NAME", &what, old.name(), new.name());
        found.same(
            "FIELD_SAME_JSON_NAME",
            &what,
            old.json_name(),
            new.json_name(),
        );
        found.same("FIELD_SAME_TYPE", &what, kind(old), kind(new));
        found.same(
            "FIELD_SAME_CARDINALITY",
            &what,
            cardinality(old),
            cardinality(new),
        );
        let group = |field: &FieldDescriptorProto, of: &DescriptorProto| {
            let index = usize::try_from(field.oneof_index?).ok()?;
            let is_real = !field.proto3_optional();
            is_real.then(|| {
                of.oneof_decl
                    .get(index)
                    .map(OneofDescriptorProto::name)
                    .map(ToOwned::to_owned)
            })?
        };
        found.same("FIELD_SAME_ONEOF", &what, group(old, was), group(new, is));
    }
    for reserved in &was.reserved_range {
        let kept = is
            .reserved_range
            .iter()
            .any(|range| range.start() <= reserved.start() && reserved.end() <= range.end());
        if !kept {
            let how = format!(
                "no longer reserves {} to {}",
                reserved.start(),
                reserved.end() - 1
            );
            found.add("RESERVED_MESSAGE_NO_DELETE", name, how);
        }
    }
}

/// Its type, and of which message or enumeration it is one.
fn kind(field: &FieldDescriptorProto) -> String {
    match field.type_name() {
        "" => format!("{:?}", field.r#type()),
        name => format!("{:?} {name}", field.r#type()),
    }
}

/// Whether there are several, one, or one that knows whether it is there.
fn cardinality(field: &FieldDescriptorProto) -> String {
    let presence = if field.proto3_optional() {
        " with presence"
    } else {
        ""
    };
    format!("{:?}{presence}", field.label())
}

fn enumeration(found: &mut Found, name: &str, was: &EnumDescriptorProto, is: &EnumDescriptorProto) {
    for old in &was.value {
        let what = format!("{name}.{}", old.name());
        match is.value.iter().find(|new| new.number() == old.number()) {
            Some(new) => found.same("ENUM_VALUE_SAME_NAME", &what, old.name(), new.name()),
            None => {
                let how = format!("with the number {} is gone", old.number());
                found.add("ENUM_VALUE_NO_DELETE", &what, how);
            }
        }
    }
}

fn service(
    found: &mut Found,
    name: &str,
    was: &ServiceDescriptorProto,
    is: &ServiceDescriptorProto,
) {
    let methods: Vec<(String, &MethodDescriptorProto)> = is
        .method
        .iter()
        .map(|one| (format!("{name}.{}", one.name()), one))
        .collect();
    for old in &was.method {
        let what = format!("{name}.{}", old.name());
        let Some(new) = found.still("RPC_NO_DELETE", &what, &methods) else {
            continue;
        };
        found.same(
            "RPC_SAME_REQUEST_TYPE",
            &what,
            old.input_type(),
            new.input_type(),
        );
        found.same(
            "RPC_SAME_RESPONSE_TYPE",
            &what,
            old.output_type(),
            new.output_type(),
        );
        found.same(
            "RPC_SAME_CLIENT_STREAMING",
            &what,
            old.client_streaming(),
            new.client_streaming(),
        );
        found.same(
            "RPC_SAME_SERVER_STREAMING",
            &what,
            old.server_streaming(),
            new.server_streaming(),
        );
    }
}
