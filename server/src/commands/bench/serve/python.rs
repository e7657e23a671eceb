//! The yardstick: a text generation pipeline of Transformers, one prompt after the other, as notebooks classify. It runs
//! the merged model, so that it has no adapter to compute, and generates a single token of the answer.

use super::subject::Subject;
use anyhow::{Context, bail};
use engine::classify::ClassifierFile;
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// Prompts that are timed; the rate does not change with more.
const PROMPTS: usize = 100;

/// Exit code 3: Transformers or PyTorch is not there.
const SCRIPT: &str = r#"
import json, sys, time
try:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
except ImportError:
    sys.exit(3)
folder, prompts = sys.argv[1], json.load(open(sys.argv[2]))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
generate = pipeline("text-generation", model=model, tokenizer=tokenizer, max_new_tokens=1, do_sample=False)
for prompt in prompts[:5]:
    generate(prompt)
began = time.perf_counter()
for prompt in prompts:
    generate(prompt)[0]["generated_text"]
print(json.dumps(len(prompts) / (time.perf_counter() - began)))
"#;

/// Rows per second; `None` where this Python or its libraries are not there.
pub fn measure(python: &Path, subject: &Subject, scratch: &Path) -> anyhow::Result<Option<f64>> {
    let merged = scratch.join("merged");
    let program = std::env::current_exe().context("The program does not know where it lies")?;
    let output = Command::new(program)
        .args(["export", "--to", "safetensors", "--device", "cpu", "--adapter"])
        .arg(&subject.adapter)
        .arg("--out")
        .arg(&merged)
        .arg("--model")
        .arg(subject.base_model())
        .output()
        .context("The export cannot be started")?;
    if !output.status.success() {
        bail!("The export failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let classifier = ClassifierFile::read(&subject.adapter)?;
    let rendered = classifier.prompt_template.render(&classifier.labels);
    let prompts: Vec<String> =
        subject.texts.iter().take(PROMPTS).map(|text| format!("{}{text}{}", rendered.before, rendered.after)).collect();
    let file = scratch.join("prompts.json");
    std::fs::write(&file, json!(prompts).to_string())?;
    let output = match Command::new(python).args(["-c", SCRIPT]).arg(&merged).arg(&file).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be started", python.display())),
    };
    match output.status.code() {
        Some(0) => Ok(Some(serde_json::from_slice(&output.stdout).context("The figure cannot be read")?)),
        Some(3) => Ok(None),
        _ => bail!("Transformers failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}
