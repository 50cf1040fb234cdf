// The live feed: one websocket, opened again whenever it ends.

const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 4000;

export class Feed {
  constructor(handlers) {
    this.handlers = handlers; // by the type of what comes, and "connected", "lost"
    this.pause = FIRST_PAUSE;
    this.open();
  }

  open() {
    const url = new URL("feed", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.socket = new WebSocket(url));
    socket.onopen = () => {
      this.pause = FIRST_PAUSE;
      this.handlers.connected();
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      this.handlers[message.is]?.(message);
      // The server sends the next batch when this one is dealt with: a slow page is skipped ahead.
      if (message.is === "rows") this.send({ seen: message.number });
    };
    socket.onclose = () => {
      this.handlers.lost();
      setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    };
  }

  send(value) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(value));
  }
}
