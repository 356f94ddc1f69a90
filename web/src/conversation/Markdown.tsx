/** Markdown of a finished reply. No HTML; links open in a new tab and send no referrer. */
import ReactMarkdown from 'react-markdown'

export default function Markdown({ text }: { text: string }) {
  return (
    <ReactMarkdown
      skipHtml
      components={{
        a: ({ href, children }) => (
          <a href={href} target="_blank" rel="noreferrer noopener">
            {children}
          </a>
        ),
        img: ({ alt }) => <span>[picture{alt ? `: ${alt}` : ''}]</span>,
      }}
    >
      {text}
    </ReactMarkdown>
  )
}
