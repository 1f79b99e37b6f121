//! The sections that a JSON Schema describes once, by name, whoever refers to them. So little is needed of what generators of
//! schemas can do that it is here, and no crate is.

use serde_json::{Map, Value, json};

/// Sections described so far, and which type each name stands for.
#[derive(Default)]
pub(crate) struct Definitions {
    sections: Map<String, Value>,
    types: Vec<(String, &'static str)>,
}

impl Definitions {
    /// A reference to the section of that name; the first one has it described. `of` is the type that is described.
    pub(crate) fn refer_to(&mut self, name: &str, of: &'static str, describe: fn(&mut Self) -> Value) -> Value {
        if let Some((_, known)) = self.types.iter().find(|(known, _)| known == name) {
            assert_eq!(*known, of, "each section has a name of its own");
        } else {
            // A section within itself meets its name here.
            self.types.push((name.to_owned(), of));
            self.sections.insert(name.to_owned(), Value::Null);
            let section = describe(self);
            self.sections.insert(name.to_owned(), section);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// All of them.
    pub(crate) fn into_sections(self) -> Map<String, Value> {
        self.sections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_described_once_even_if_it_stands_within_itself() {
        fn tree(definitions: &mut Definitions) -> Value {
            json!({ "items": definitions.refer_to("Tree", "tree", tree) })
        }
        let mut definitions = Definitions::default();
        let reference = json!({ "$ref": "#/$defs/Tree" });
        assert_eq!(definitions.refer_to("Tree", "tree", tree), reference);
        assert_eq!(definitions.refer_to("Tree", "tree", |_| unreachable!("it is described")), reference);
        assert_eq!(Value::from(definitions.into_sections()), json!({ "Tree": { "items": reference } }));
    }

    #[test]
    #[should_panic(expected = "each section has a name of its own")]
    fn two_sections_of_one_name_are_not_taken_for_each_other() {
        let mut definitions = Definitions::default();
        definitions.refer_to("Key", "raw::key::Key", |_| json!({}));
        definitions.refer_to("Key", "raw::cache::Key", |_| json!({}));
    }
}
