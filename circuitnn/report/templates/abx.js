"use strict";
// A blind comparison: X is A or B by chance, and the listener says which. All three run side by side in a loop at equal
// loudness and only their gains change, so that a switch is heard as a change of sound and not as a jump in time.
(() => {
  const FADE = 0.005;
  const NAMES = { A: "the recording", B: "the fitted circuit" };
  let context = null;
  let silence = () => {};

  const decode = (audio) => {
    const text = atob(audio.src.slice(audio.src.indexOf(",") + 1));
    return context.decodeAudioData(Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer);
  };

  // The probability of at least `right` of `tries` by guessing.
  const byChance = (right, tries) => {
    let term = 0.5 ** tries;
    let sum = 0;
    for (let k = 0; k <= tries; k += 1) {
      if (k >= right) sum += term;
      term *= (tries - k) / (k + 1);
    }
    return sum;
  };

  const setUp = (box) => {
    const say = box.querySelector("[role=status]");
    const loop = box.querySelector("input");
    const plays = [...box.querySelectorAll("[data-play]")];
    const answers = [...box.querySelectorAll("[data-answer]")];
    // Neither may be louder than the file holds it.
    const gain = Number(box.dataset.gain);
    const loudness = { A: 1 / Math.max(1, gain), B: gain / Math.max(1, gain) };
    let hidden, heard, wanted, voices = null, right = 0, tries = 0;

    const draw = () => {
      hidden = Math.random() < 0.5 ? "A" : "B";
      heard = false;
      answers.forEach((button) => { button.disabled = true; });
    };

    const stop = () => {
      voices?.then((playing) => Object.values(playing).forEach(({ source }) => source.stop()));
      voices = null;
      plays.forEach((button) => button.setAttribute("aria-pressed", "false"));
    };

    const start = async () => {
      context ??= new AudioContext();
      await context.resume();
      const buffers = {
        A: await decode(document.getElementById(box.dataset.target)),
        B: await decode(document.getElementById(box.dataset.fitted)),
      };
      const when = context.currentTime + 0.05;
      const playing = {};
      for (const [name, buffer] of Object.entries(buffers)) {
        const source = new AudioBufferSourceNode(context, { buffer, loop: true });
        if (loop.checked) {
          source.loopStart = Number(box.dataset.begin);
          source.loopEnd = Number(box.dataset.end);
        }
        const volume = new GainNode(context, { gain: 0 });
        source.connect(volume).connect(context.destination);
        source.start(when, source.loopStart);
        playing[name] = { source, volume };
      }
      return playing;
    };

    const play = async (choice) => {
      if (!voices) {
        silence();
        silence = stop;
        document.querySelectorAll("audio").forEach((audio) => audio.pause());
        voices = start();
      }
      wanted = choice;
      plays.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.play === choice)));
      // Keys may come faster than the sounds: the last one counts.
      const own = voices;
      const playing = await own;
      if (voices !== own || wanted !== choice) return;
      const audible = choice === "X" ? hidden : choice;
      for (const [name, { volume }] of Object.entries(playing)) {
        volume.gain.setTargetAtTime(name === audible ? loudness[name] : 0, context.currentTime, FADE);
      }
      if (choice === "X") {
        heard = true;
        answers.forEach((button) => { button.disabled = false; });
      }
    };

    const answer = (choice) => {
      if (!heard) return;
      tries += 1;
      right += Number(choice === hidden);
      const chance = (100 * byChance(right, tries)).toPrecision(2);
      say.textContent = `${choice === hidden ? "Right" : "Wrong"}: X was ${NAMES[hidden]}. ${right} of ${tries} right; ` +
        `guessing would do as well with a probability of ${Number(chance)} %.`;
      stop();
      draw();
    };

    plays.forEach((button) => button.addEventListener("click", () => play(button.dataset.play)));
    answers.forEach((button) => button.addEventListener("click", () => answer(button.dataset.answer)));
    box.querySelector("[data-stop]").addEventListener("click", stop);
    loop.addEventListener("change", stop);
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const key = event.key.toUpperCase();
      if ("ABX".includes(key)) play(key);
      else if (key === "1" || key === "2") answer(key === "1" ? "A" : "B");
      else if (key === "ESCAPE") stop();
    });
    draw();
    box.hidden = false;
  };

  document.querySelectorAll(".abx").forEach(setUp);
  // One sound at a time.
  document.addEventListener("play", (event) => {
    silence();
    document.querySelectorAll("audio").forEach((audio) => { if (audio !== event.target) audio.pause(); });
  }, true);
})();
