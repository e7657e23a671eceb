//! Numbers, sizes, times, moments and names in words: the same on every page.

use domain::catalogue::{ModelSummary, OWN_MODEL};
use domain::hub::HubAddress;

/// Whole numbers with a comma between thousands: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// `1 row`, `12,345 rows`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// The beginning of a text where it is longer than so many characters.
pub fn excerpt(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A share from 0 to 1 in percent with one decimal: `75.2 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Bytes, 1024 of each unit to the next, as most file managers count: `813 B`, `12.4 KB`, `200 MB`.
pub fn bytes(bytes: f64) -> String {
    const KB: f64 = 1024.0;
    let (value, unit) = match bytes {
        b if b < KB => return format!("{b:.0} B"),
        b if b < KB * KB => (b / KB, "KB"),
        b if b < KB * KB * KB => (b / (KB * KB), "MB"),
        b => (b / (KB * KB * KB), "GB"),
    };
    if value < 100.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// `15.9 million`, `8.0 billion`.
pub fn parameters(parameters: u64) -> String {
    match parameters {
        p if p >= 1_000_000_000 => format!("{:.1} billion", p as f64 / 1e9),
        p if p >= 1_000_000 => format!("{:.1} million", p as f64 / 1e6),
        p => count(p),
    }
}

/// What a model is called: the end of its address or of its path. The server's own has the name in its file.
pub fn model_name(model: &ModelSummary) -> String {
    match &model.info {
        Some(info) if model.id == OWN_MODEL => info.name.clone(),
        _ => source_name(&model.source, model.from_hub),
    }
}

/// `Meta-Llama-3-8B` of `meta-llama/Meta-Llama-3-8B@main`, `small` of `/models/small.gguf`.
pub fn source_name(source: &str, from_hub: bool) -> String {
    let path = match HubAddress::parse(source) {
        Ok(address) if from_hub => address.file.unwrap_or(address.repo),
        _ => source.trim_end_matches('/').to_owned(),
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".gguf").unwrap_or(name);
    if name.is_empty() { source.to_owned() } else { name.to_owned() }
}

/// An address that may stand in a link: what comes from elsewhere could be a script.
pub fn web_address(address: &str) -> Option<String> {
    let is_page = address.starts_with("https://") || address.starts_with("http://");
    is_page.then(|| address.to_owned())
}

/// Seconds in the two largest units that matter: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_string();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) if h < 24 => format!("{h} h {m} min"),
        (h, _, _) => format!("{} d {} h", h / 24, h % 24),
    }
}

/// `22 Nov 2026, 14:05` from milliseconds since 1970. UTC, unless the caller has shifted them.
pub fn date_time(at_ms: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil_date(at_ms.div_euclid(86_400_000));
    let minutes = at_ms.rem_euclid(86_400_000) / 60_000;
    format!("{day} {} {year}, {:02}:{:02}", MONTHS[month - 1], minutes / 60, minutes % 60)
}

/// `2026-11-22T14:05:09Z`, for machines.
pub fn iso(at_ms: i64) -> String {
    let (year, month, day) = civil_date(at_ms.div_euclid(86_400_000));
    let seconds = at_ms.rem_euclid(86_400_000) / 1000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month from 1, day from 1 of a day counted from 1 January 1970, in the Gregorian calendar: Howard Hinnant's
/// `civil_from_days`, whose years begin in March so that the leap day comes last.
fn civil_date(days: i64) -> (i64, usize, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes() {
        assert_eq!([count(0), count(999), count(1000), count(1234567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([813.0, 12_698.0, 209_715_200.0, 7.5e9].map(bytes), ["813 B", "12.4 KB", "200 MB", "7.0 GB"]);
        assert_eq!(["Länge", "Länger"].map(|text| excerpt(text, 5)), ["Länge", "Länge…"]);
        assert_eq!([percent(0.7524), percent(1.0)], ["75.2 %", "100.0 %"]);
    }

    #[test]
    fn models_are_called_by_the_end_of_their_source() {
        for (source, from_hub, name) in [
            ("meta-llama/Meta-Llama-3-8B@main", true, "Meta-Llama-3-8B"),
            ("o/n/folder/model-q4_0.gguf", true, "model-q4_0"),
            ("/models/small.gguf", false, "small"),
            ("./models/llama/", false, "llama"),
            ("/", false, "/"),
        ] {
            assert_eq!(source_name(source, from_hub), name);
        }
        assert_eq!([8_030_261_248, 15_944_448, 640].map(parameters), ["8.0 billion", "15.9 million", "640"]);
    }

    #[test]
    fn only_pages_are_linked_to() {
        assert_eq!(web_address("https://hub.example/o/n").as_deref(), Some("https://hub.example/o/n"));
        assert_eq!(web_address("javascript:alert(1)"), None);
    }

    #[test]
    fn durations() {
        let words = [0.44, 12.0, 200.0, 7500.0, 90_000.0, f64::INFINITY].map(duration);
        assert_eq!(words, ["0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "1 d 1 h", "unknown"]);
    }

    /// Expected values from `date -u -d @SECONDS`.
    #[test]
    fn moments() {
        assert_eq!(date_time(0), "1 Jan 1970, 00:00");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(iso(1_795_356_309_000), "2026-11-22T14:05:09Z");
        assert_eq!(date_time(-1), "31 Dec 1969, 23:59");
    }
}
