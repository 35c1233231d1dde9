//! Jobs, written one by one as they are asked for.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use rand_chacha::ChaCha8Rng;

use super::{
    Inner, WorkloadError,
    compose::Part,
    dataset::Order,
    write::{Writer, Written},
};
use crate::plan::{
    ApiPath, BLOCK_TOKENS, Job, Length, Message, PlannedRequest, Prompt, PromptSource, Slot, Slots,
    stream,
};

/// Between the messages of a dataset's conversation where the interface knows no messages, and
/// behind a nonce.
const BREAK: &str = "\n\n";

/// The jobs of one phase of a scenario.
pub(super) struct Jobs {
    inner: Arc<Inner>,
    phase: String,
    slots: Slots,
    writer: Option<Writer>,
    order: Option<Order>,
    next: u32,
}

impl Jobs {
    pub(super) fn new(inner: &Arc<Inner>, phase: &str, slots: Slots) -> Self {
        let dataset = inner.dataset.as_ref();
        Self {
            inner: Arc::clone(inner),
            phase: phase.to_owned(),
            slots,
            writer: None,
            order: dataset.map(|dataset| dataset.order(inner.seed)),
            next: 0,
        }
    }

    /// The job of the next slot.
    pub(super) fn job(&mut self) -> Result<Option<Job>, WorkloadError> {
        let Some(slot) = self.slots.next() else {
            return Ok(None);
        };
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => Writer::new(&self.inner.tokens, &self.inner.book)?,
        };
        let turns = match self.order.take() {
            None => self.synthetic(&mut writer, &slot),
            Some(mut order) => {
                let turns = self.recorded(&writer, &mut order, &slot);
                self.order = Some(order);
                turns
            }
        };
        self.writer = Some(writer);
        let due = slot.due;
        turns.map(|turns| Some(Job { due, turns }))
    }

    /// Words. The first message has the nonce; answers are words as well, of the length that is
    /// asked for.
    fn synthetic(
        &mut self,
        writer: &mut Writer,
        slot: &Slot,
    ) -> Result<Vec<PlannedRequest>, WorkloadError> {
        let inner = Arc::clone(&self.inner);
        let mut talk = Talk::new(inner.api, " ");
        let mut turns = Vec::new();
        for turn in 0..inner.scenario.turns.get() {
            let index = self.index();
            let input = self.length(
                "input",
                slot.input_tokens,
                &inner.scenario.input_tokens,
                index,
            );
            let output = self.length(
                "output",
                slot.output_tokens,
                &inner.scenario.output_tokens,
                index,
            );
            let parts = if turn == 0 {
                self.first(slot, index, input.get())
            } else {
                let random = self.text(b"text", &index.to_le_bytes());
                let until = input.get();
                vec![Part::Text { random, until }]
            };
            let place = index.to_le_bytes();
            let user = writer.write(parts, input.get(), talk.at_start(), &[b"user", &place])?;
            talk.say("user", user);
            let counted = match inner.api {
                ApiPath::Completions if !writer.adds_up() => writer.count(&talk.joined)?,
                ApiPath::Completions | ApiPath::Chat => talk.tokens,
            };
            turns.push(self.request(index, &talk, counted, output));
            if turn + 1 < inner.scenario.turns.get() {
                let answer = Part::Text {
                    random: self.text(b"answer", &place),
                    until: output.get(),
                };
                let name: [&[u8]; 2] = [b"answer", &place];
                let answer = writer.write(vec![answer], output.get(), talk.at_start(), &name)?;
                talk.say("assistant", answer);
            }
        }
        Ok(turns)
    }

    /// The parts of a conversation's first message.
    fn first(&self, slot: &Slot, index: u32, tokens: u32) -> Vec<Part> {
        if let Some(blocks) = slot.blocks.as_deref().filter(|blocks| !blocks.is_empty()) {
            return self.blocks(blocks, index, tokens);
        }
        let shared = match self.inner.scenario.prompts {
            PromptSource::Synthetic { shared_prefix } => portion(tokens, shared_prefix),
            PromptSource::Dataset { .. } => 0,
        };
        // Requests of the same recorded conversation begin alike: the longer one goes on where
        // the shorter one ends, as conversations grow.
        let place = match slot.session {
            Some(session) => [b"session".as_slice(), &session.to_le_bytes()].concat(),
            None => index.to_le_bytes().to_vec(),
        };
        vec![
            Part::Text {
                random: self.text(b"shared", b""),
                until: shared,
            },
            Part::Nonce(self.nonce(&place)),
            Part::Text {
                random: self.text(b"text", &place),
                until: tokens,
            },
        ]
    }

    /// Blocks of a recorded prompt: the same name is the same text, in this phase.
    fn blocks(&self, blocks: &[u64], index: u32, tokens: u32) -> Vec<Part> {
        let begin = blocks.first().copied().unwrap_or_default();
        let begin = [b"block".as_slice(), &begin.to_le_bytes()].concat();
        let mut parts = vec![Part::Nonce(self.nonce(&begin))];
        let mut until = 0_u32;
        for block in blocks {
            until = until.saturating_add(BLOCK_TOKENS).min(tokens);
            let random = self.text(b"block", &block.to_le_bytes());
            parts.push(Part::Text { random, until });
        }
        let random = self.text(b"text", &index.to_le_bytes());
        let until = tokens;
        parts.push(Part::Text { random, until });
        parts
    }

    /// A conversation of the dataset, cut to the scenario's turns, with a nonce in front.
    fn recorded(
        &mut self,
        writer: &Writer,
        order: &mut Order,
        slot: &Slot,
    ) -> Result<Vec<PlannedRequest>, WorkloadError> {
        let inner = Arc::clone(&self.inner);
        let Some(conversation) = order.next() else {
            return Ok(Vec::new());
        };
        let nonce = writer.nonce(&[
            b"nonce",
            self.phase.as_bytes(),
            inner.scenario.id.as_str().as_bytes(),
            &self.next.to_le_bytes(),
        ]);
        let mut nonce = Some(nonce);
        let mut behind_nonce = |text: &str| match nonce.take() {
            Some(nonce) => format!("{nonce}{BREAK}{text}"),
            None => text.to_owned(),
        };
        let counted = |text: String| {
            let tokens = writer.count(&text)?;
            Ok(Written { text, tokens })
        };
        let mut talk = Talk::new(inner.api, BREAK);
        if let Some(system) = &conversation.system {
            talk.say("system", counted(behind_nonce(system))?);
        }
        let mut turns = Vec::new();
        let most = inner.scenario.turns.get() as usize;
        for turn in conversation.turns.iter().take(most) {
            let index = self.index();
            let given = slot.output_tokens.or(conversation.output_tokens);
            let output = self.length("output", given, &inner.scenario.output_tokens, index);
            talk.say("user", counted(behind_nonce(&turn.user))?);
            let tokens = match inner.api {
                ApiPath::Chat => talk.tokens,
                // The breaks between messages are tokens too.
                ApiPath::Completions => writer.count(&talk.joined)?,
            };
            turns.push(self.request(index, &talk, tokens, output));
            if let Some(answer) = &turn.answer {
                talk.say("assistant", counted(answer.to_string())?);
            }
        }
        Ok(turns)
    }

    fn request(
        &self,
        index: u32,
        talk: &Talk,
        input_tokens: Option<u32>,
        output: NonZeroU32,
    ) -> PlannedRequest {
        PlannedRequest {
            index,
            prompt: talk.prompt(),
            input_tokens,
            output_tokens: Some(output),
            think: if talk
                .messages
                .iter()
                .any(|message| message.role == "assistant")
            {
                self.inner.scenario.think
            } else {
                Duration::ZERO
            },
        }
    }

    fn index(&mut self) -> u32 {
        let index = self.next;
        self.next = self.next.wrapping_add(1);
        index
    }

    /// The given length, or one that is drawn: for an index always the same.
    fn length(&self, what: &str, given: Option<NonZeroU32>, of: &Length, index: u32) -> NonZeroU32 {
        given.unwrap_or_else(|| match *of {
            Length::Fixed { tokens } => tokens,
            Length::Uniform { .. } | Length::Normal { .. } | Length::LogNormal { .. } => {
                of.sample(&mut self.text(what.as_bytes(), &index.to_le_bytes()))
            }
        })
    }

    /// A stream that is the same in every run.
    fn text(&self, kind: &[u8], place: &[u8]) -> ChaCha8Rng {
        let scenario = self.inner.scenario.id.as_str().as_bytes();
        stream(&[kind, &self.inner.seed.to_le_bytes(), scenario, place])
    }

    /// A stream of this phase alone.
    fn nonce(&self, place: &[u8]) -> ChaCha8Rng {
        let scenario = self.inner.scenario.id.as_str().as_bytes();
        stream(&[b"nonce", self.phase.as_bytes(), scenario, place])
    }
}

impl Iterator for Jobs {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        if self.inner.failure.get().is_some() {
            return None;
        }
        match self.job() {
            Ok(job) => job,
            Err(error) => {
                // The first failure is kept; `check` tells it.
                drop(self.inner.failure.set(error));
                None
            }
        }
    }
}

/// A share of a number of tokens, rounded.
fn portion(tokens: u32, share: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a number of 32 bits"
    )]
    let tokens = (f64::from(tokens) * share.clamp(0.0, 1.0)).round() as u32;
    tokens
}

/// A conversation so far.
struct Talk {
    api: ApiPath,
    between: &'static str,
    messages: Vec<Message>,
    /// All messages as one text, for an interface without messages.
    joined: String,
    /// Of all messages; `None` once one of them was not counted.
    tokens: Option<u32>,
}

impl Talk {
    const fn new(api: ApiPath, between: &'static str) -> Self {
        Self {
            api,
            between,
            messages: Vec::new(),
            joined: String::new(),
            tokens: Some(0),
        }
    }

    /// Whether the next message has nothing before it that its tokens could depend on.
    const fn at_start(&self) -> bool {
        match self.api {
            ApiPath::Chat => true,
            ApiPath::Completions => self.messages.is_empty(),
        }
    }

    fn say(&mut self, role: &str, said: Written) {
        self.tokens = self
            .tokens
            .zip(said.tokens)
            .map(|(all, more)| all.saturating_add(more));
        if self.api == ApiPath::Completions {
            if !self.messages.is_empty() {
                self.joined.push_str(self.between);
            }
            self.joined.push_str(&said.text);
        }
        self.messages.push(Message {
            role: role.to_owned(),
            content: said.text,
        });
    }

    fn prompt(&self) -> Prompt {
        match (self.api, self.messages.as_slice()) {
            (ApiPath::Completions, _) => Prompt::Text(self.joined.clone()),
            (ApiPath::Chat, [only]) => Prompt::Text(only.content.clone()),
            (ApiPath::Chat, messages) => Prompt::Messages(messages.to_vec()),
        }
    }
}
