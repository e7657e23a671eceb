//! The order in which runs are taken up: by priority, within one priority the people in turn, and whatever somebody has
//! moved by hand stays where it was put.

use crate::error::UserError;
use crate::model::BaseModelInfo;
use crate::run::RunId;
use crate::spec::{Quantization, TargetModule, TrainSpec};
use serde::{Deserialize, Serialize};

/// Besides checkpoints: events, predictions, and the database's own files.
const SPARE_DISK_BYTES: u64 = 64 * 1024 * 1024;
/// Activations of a batch of short texts.
const STEP_BYTES: f64 = 128.0 * 1024.0 * 1024.0;

/// How soon a run is wanted. One of a higher priority is always taken up first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The word in the database and in forms.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word)
    }
}

/// A run that waits, as far as its place depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub run: RunId,
    pub priority: Priority,
    /// Who started it; runs that nobody in particular started are one person's.
    pub person: String,
}

/// Where somebody moves a run within its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueMove {
    /// Ahead of all others of its priority.
    Front,
    Up,
    Down,
}

impl QueueMove {
    pub const ALL: [Self; 3] = [Self::Front, Self::Up, Self::Down];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.as_str() == word)
    }
}

/// Where a new run goes in a queue: behind all of a higher priority; within its own, a person's third run behind everybody
/// else's third. So one who starts ten runs at once does not keep the others waiting for ten.
pub fn place_of(queue: &[Waiting], new: &Waiting) -> usize {
    let is_ahead = |other: &&Waiting| other.priority >= new.priority;
    let same = |other: &Waiting| other.priority == new.priority;
    let round = queue.iter().filter(|other| same(other) && other.person == new.person).count();
    let behind_own = queue.iter().rposition(|other| same(other) && other.person == new.person);
    // The round of each run: how many of the same person's stand ahead of it.
    let rounds = queue.iter().enumerate().map(|(place, other)| {
        queue[..place].iter().filter(|earlier| same(earlier) && earlier.person == other.person).count()
    });
    let later = queue.iter().zip(rounds).position(|(other, its)| same(other) && its > round);
    let end = queue.iter().take_while(is_ahead).count();
    // A run that was moved by hand may have left a later round ahead of one's own earlier runs.
    later.unwrap_or(end).max(behind_own.map_or(0, |place| place + 1)).min(end)
}

/// The queue with one run moved.
///
/// # Errors
/// It does not wait (any more), or stands there already.
pub fn moved(queue: &[Waiting], run: RunId, to: QueueMove) -> Result<Vec<RunId>, UserError> {
    let gone = || UserError::conflict("This run does not wait any more. Look at the queue again.");
    let place = queue.iter().position(|waiting| waiting.run == run).ok_or_else(gone)?;
    let priority = queue[place].priority;
    let first = queue.iter().position(|waiting| waiting.priority == priority).unwrap_or(place);
    let last = queue.iter().rposition(|waiting| waiting.priority == priority).unwrap_or(place);
    let target = match to {
        QueueMove::Front => first,
        QueueMove::Up => place.saturating_sub(1).max(first),
        QueueMove::Down => (place + 1).min(last),
    };
    if target == place {
        let end = if to == QueueMove::Down { "last" } else { "first" };
        return Err(UserError::conflict(format!(
            "The run is the {end} one of its priority already. Change its priority to move it on."
        )));
    }
    let mut runs: Vec<RunId> = queue.iter().map(|waiting| waiting.run).collect();
    let run = runs.remove(place);
    runs.insert(target, run);
    Ok(runs)
}

/// The queue as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// In the order in which they are taken up.
    pub waiting: Vec<QueuedRun>,
    /// Those at work, with how much of their training is done.
    pub at_work: Vec<(RunId, String, f64)>,
    pub paused: Option<QueuePause>,
}

/// A run that waits, as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueuedRun {
    pub run: RunId,
    pub name: String,
    pub priority: Priority,
    /// Empty: nobody in particular.
    pub person: String,
    /// Why it is not taken up though its turn has come.
    pub held_up: Option<String>,
}

/// Nothing new is taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePause {
    pub by: String,
    /// Milliseconds since 1970, UTC.
    pub at_ms: i64,
}

/// What a run needs of the machine before it is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// On the disk of the data folder; None: unknown.
    pub disk_bytes: Option<u64>,
    /// Of memory that is free or can be freed; None: unknown, or it is not the one that counts.
    pub memory_bytes: Option<u64>,
}

/// What a run of that recipe needs on that base, about. Of the adapter a checkpoint keeps the weights and two moments in
/// f32; there are the last checkpoint, the next one beside it until it is whole, and the best adapter.
pub fn needed_room(base: &BaseModelInfo, spec: &TrainSpec) -> Room {
    let parameters = adapter_parameters(base, spec) as f64;
    let weight_bytes = match spec.quantization {
        // Four bits, a scale per block, and an embedding of 16 bits.
        Quantization::Nf4 | Quantization::Nf4DoubleQuant => 0.6,
        Quantization::AsStored => 2.0,
    };
    let base_bytes = base.parameters as f64 * weight_bytes;
    // Adapter, gradient and two moments; and what a step keeps.
    let memory = base_bytes + 16.0 * parameters + STEP_BYTES;
    Room { disk_bytes: Some((parameters * 28.0) as u64 + SPARE_DISK_BYTES), memory_bytes: Some(memory as u64) }
}

/// Of A and B of all adapted products of all layers.
fn adapter_parameters(base: &BaseModelInfo, spec: &TrainSpec) -> u64 {
    let (hidden, inner) = (base.hidden_size, base.intermediate_size);
    let heads = base.num_attention_heads * base.head_dim;
    let key_values = base.num_key_value_heads * base.head_dim;
    let sides = |module: &TargetModule| match module {
        TargetModule::QProj | TargetModule::OProj => hidden + heads,
        TargetModule::KProj | TargetModule::VProj => hidden + key_values,
        TargetModule::GateProj | TargetModule::UpProj | TargetModule::DownProj => hidden + inner,
    };
    let per_layer: usize = spec.target_modules.iter().map(sides).sum();
    per_layer as u64 * base.num_hidden_layers as u64 * spec.r
}

/// What is missing, for people; None: there is enough, or it is not known.
pub fn missing_room(needed: Room, free: Room) -> Option<String> {
    let short = |what: &str, needed: Option<u64>, free: Option<u64>, help: &str| {
        let (needed, free) = (needed?, free?);
        (needed > free).then(|| {
            format!(
                "It needs about {} of {what}, and {} are free. {help} It is looked at again every half a minute.",
                in_words(needed),
                in_words(free)
            )
        })
    };
    short("disk", needed.disk_bytes, free.disk_bytes, "Make room in the data folder.").or_else(|| {
        short("memory", needed.memory_bytes, free.memory_bytes, "Stop other programs, or choose a smaller batch.")
    })
}

fn in_words(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.0} MB", (bytes as f64 / 1e6).ceil()),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(run: RunId, priority: Priority, person: &str) -> Waiting {
        Waiting { run, priority, person: person.to_string() }
    }

    fn after(runs: &[(RunId, Priority, &str)]) -> Vec<RunId> {
        let mut queue: Vec<Waiting> = Vec::new();
        for (run, priority, person) in runs {
            let new = waiting(*run, *priority, person);
            queue.insert(place_of(&queue, &new), new);
        }
        queue.iter().map(|waiting| waiting.run).collect()
    }

    #[test]
    fn people_take_turns_within_a_priority() {
        use Priority::*;
        let order = after(&[
            (1, Normal, "ann"),
            (2, Normal, "ann"),
            (3, Normal, "ann"),
            (4, Normal, "ben"),
            (5, Low, "cleo"),
            (6, Normal, "ben"),
            (7, High, "ann"),
            (8, Normal, "cleo"),
            (9, High, "ann"),
            (10, High, "ben"),
        ]);
        assert_eq!(order, [7, 10, 9, 1, 4, 8, 2, 6, 3, 5]);
        // Alone, first come first served.
        assert_eq!(after(&[(1, Normal, ""), (2, Normal, ""), (3, Normal, "")]), [1, 2, 3]);
    }

    #[test]
    fn what_was_moved_by_hand_stays_and_own_runs_keep_their_order() {
        let queue = [
            waiting(3, Priority::Normal, "ann"),
            waiting(1, Priority::Normal, "ann"),
            waiting(2, Priority::Normal, "ben"),
        ];
        // Ben's second goes behind his first, though Ann's second stands ahead of it.
        assert_eq!(place_of(&queue, &waiting(4, Priority::Normal, "ben")), 3);
        assert_eq!(place_of(&queue, &waiting(4, Priority::Normal, "cleo")), 1);
    }

    #[test]
    fn a_run_moves_within_its_priority() {
        use Priority::*;
        let queue = [waiting(1, High, ""), waiting(2, Normal, ""), waiting(3, Normal, ""), waiting(4, Normal, "")];
        assert_eq!(moved(&queue, 4, QueueMove::Front).unwrap(), [1, 4, 2, 3]);
        assert_eq!(moved(&queue, 4, QueueMove::Up).unwrap(), [1, 2, 4, 3]);
        assert_eq!(moved(&queue, 2, QueueMove::Down).unwrap(), [1, 3, 2, 4]);
        for (run, to) in
            [(2, QueueMove::Up), (2, QueueMove::Front), (4, QueueMove::Down), (1, QueueMove::Down), (9, QueueMove::Up)]
        {
            assert!(moved(&queue, run, to).is_err(), "{run} {to:?}");
        }
    }

    #[test]
    fn missing_room_says_how_much_is_needed_and_free() {
        let room = |disk: u64, memory: Option<u64>| Room { disk_bytes: Some(disk), memory_bytes: memory };
        assert_eq!(missing_room(room(100, Some(100)), room(100, Some(100))), None);
        assert_eq!(missing_room(room(100, Some(100)), Room { disk_bytes: None, memory_bytes: None }), None);
        let disk = missing_room(room(3_000_000_000, Some(1)), room(20_500_000, Some(0))).unwrap();
        assert!(disk.contains("3.0 GB of disk") && disk.contains("21 MB are free"), "{disk}");
        assert!(missing_room(room(1, Some(2)), room(1, Some(1))).unwrap().contains("memory"));
        assert_eq!(missing_room(room(1, None), room(1, Some(0))), None);
    }

    /// Llama-3-8B with rank 64 on all seven products has 167,772,160 parameters in its adapter, as PEFT counts them.
    #[test]
    fn the_room_of_a_large_adapter_is_that_of_its_parameters() {
        let llama = BaseModelInfo {
            name: String::new(),
            architecture: String::new(),
            parameters: 8_030_261_248,
            hidden_size: 4096,
            intermediate_size: 14336,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: 128,
            vocab_size: 128_256,
            context_length: 8192,
        };
        let spec = TrainSpec { r: 64, target_modules: TargetModule::ALL.to_vec(), ..TrainSpec::default() };
        assert_eq!(adapter_parameters(&llama, &spec), 167_772_160);
        let room = needed_room(&llama, &spec);
        assert_eq!(room.disk_bytes, Some(167_772_160 * 28 + SPARE_DISK_BYTES));
        assert!((7_000_000_000..8_500_000_000).contains(&room.memory_bytes.unwrap()), "{room:?}");
    }
}
