//! How forms and addresses name an adapter: `run-3` for what run 3 left, `model-4` for one of the catalogue.

use domain::catalogue::AdapterSource;

pub fn word_of(source: AdapterSource) -> String {
    match source {
        AdapterSource::Run(id) => format!("run-{id}"),
        AdapterSource::Model(id) => format!("model-{id}"),
    }
}

pub fn parse(word: &str) -> Option<AdapterSource> {
    match word.split_once('-')? {
        ("run", id) => id.parse().ok().map(AdapterSource::Run),
        ("model", id) => id.parse().ok().map(AdapterSource::Model),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for source in [AdapterSource::Run(3), AdapterSource::Model(12)] {
            assert_eq!(parse(&word_of(source)), Some(source));
        }
        for word in ["", "run", "run-", "run-x", "dataset-1", "3"] {
            assert_eq!(parse(word), None, "{word}");
        }
    }
}
