/* Browsers start no worker for pages that are opened from a folder (file:), and search is one: there it runs in a
   hidden frame of the page instead. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.waiting = []
      window.addEventListener("message", event => {
        if (!this.frame.contentWindow || event.source !== this.frame.contentWindow) return
        if (event.data.ready) {
          const waiting = this.waiting
          this.waiting = null
          waiting.forEach(data => this.postMessage(data))
        } else {
          const answer = new MessageEvent("message", { data: event.data.answer })
          this.dispatchEvent(answer)
          if (this.onmessage) this.onmessage(answer)
        }
      })
      this.frame.srcdoc = `<script>
        window.postMessage = answer => parent.postMessage({ answer }, "*")
        window.importScripts = (...urls) => Promise.all(urls.map(url => new Promise((done, failed) => {
          const script = document.createElement("script")
          script.src = url
          script.onload = done
          script.onerror = failed
          document.body.appendChild(script)
        })))
      </${"script"}><script src="${new URL(url, location)}"></${"script"}><script>
        parent.postMessage({ ready: true }, "*")
      </${"script"}>`
      document.body.appendChild(this.frame)
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
