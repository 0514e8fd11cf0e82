/** What each variable means, in Portuguese. The words for things are those of the page (`src/http/page/texts.js`). */
import type { Name } from "../../src/services/variables.ts"

/** Markdown, with links as from the project's root. A variable without a line here is a type error. */
export const portuguese: Readonly<Record<Name, string>> = {
  DATABASE_URL: "o banco do Replit",
  EXTERNAL_DB_URL: "o banco externo; nas duas URLs, um host com `-pooler` é recusado",
  SYNC_ALLOW_PLAINTEXT:
    "`true`: aceita uma URL sem TLS para outros hosts além desta máquina e do `helium` do Replit: veja TLS abaixo",
  SYNC_TABLES:
    "as tabelas, separadas por vírgulas: `perfis`, `loja.pedidos`, `\"Any Name\"`; sem esquema, é `public`. `*` abrange "
    + "[todas as tabelas](docs/tables.md#all-tables) de `public`; `loja.*`, as do esquema `loja`",
  SYNC_EXCLUDE: "o que um curinga deixa de fora, escrito como em `SYNC_TABLES`: `sessoes,loja.\"Log\"`",
  SYNC_STAMP:
    "a coluna que diz quando uma linha foi alterada pela última vez; `perfis=atualizado_em,…` para tabelas específicas",
  SYNC_CONFLICT_POLICY: "ou `replit-wins`, `external-wins`; `perfis=external-wins,…` para tabelas específicas",
  SYNC_HIDE_COLUMNS:
    "colunas cujos valores não são mostrados em lugar nenhum, como `perfis.email, loja.clientes.cpf`: veja "
    + "[colunas escondidas](docs/operating.md#hidden-columns)",
  SYNC_INTERVAL: "a pausa depois de cada ciclo, maior que 0 e de no máximo 24 dias: `30 seconds`, `1 hour`",
  SYNC_SCHEDULE:
    "`eco`: uma alteração no Replit acorda o serviço, e o externo é visitado cada vez menos enquanto nada muda lá: veja "
    + "[quanto custa um ritmo](docs/neon-and-replit.md#what-a-schedule-costs)",
  SYNC_MAX_INTERVAL: "a pausa mais longa do `eco`, não menor que `SYNC_INTERVAL` e de no máximo 24 dias",
  SYNC_LIVE:
    "`true`: uma alteração em qualquer lado acorda o serviço na hora: veja [modo ao vivo](docs/neon-and-replit.md#live-mode); "
    + "não junto com `eco`",
  SYNC_BATCH_ROWS_MAX:
    "o máximo de linhas de um lote, de 1 a 1000000; os lotes começam pequenos e acham o tamanho certo sozinhos",
  SYNC_CYCLE_MAX:
    "um ciclo que demora mais é encerrado, com aviso; o próximo continua com o resto. Maior que 0, no máximo 24 dias",
  SYNC_RETENTION:
    "por quanto tempo se guarda o histórico das alterações sincronizadas, no máximo 36500 dias; `0` guarda só o que o "
    + "protocolo precisa. O histórico antigo sai no próximo ciclo que tiver algo a fazer",
  SYNC_KEEP_CONFLICTS:
    "por quanto tempo as versões perdedoras ficam guardadas, restauradas ou não, de 1 a 36500 dias: veja "
    + "[o que se guarda, e por quanto tempo](docs/operating.md#what-is-kept-and-how-long)",
  SYNC_ABANDONED_AFTER:
    "quando ninguém sincroniza há tanto tempo, só a alteração mais nova de cada linha é guardada; no mínimo 1 hora; `never` "
    + "guarda todas",
  SYNC_QUEUE_MAX:
    "o mesmo para uma tabela que tem mais do que isso à espera, com índice e tudo, enquanto nenhum serviço está conectado; no "
    + "mínimo 1 MB; `never` é sem limite",
  SYNC_RETRY_FOR:
    "por quanto tempo os comandos e `--once` insistem no que pode passar sozinho, no máximo 1 dia; `0` tenta uma vez só. O "
    + "serviço insiste durante o intervalo, no máximo um minuto, e depois espera o próximo ciclo",
  SYNC_LOG_FORMAT: "`pretty`, `logfmt` ou `json`; `auto` é `pretty` num terminal e `logfmt` fora dele",
  SYNC_AUTO_SETUP: "`false`: uma execução nunca instala nada sozinha, só o `setup`",
  SYNC_TOUCH: "`false`: não instala o gatilho que mantém a coluna de data verdadeira (veja "
    + "[o que é instalado nas tabelas](docs/tables.md#what-it-does-to-them))",
  SYNC_BRAKE:
    "uma tabela é retida quando um ciclo apagaria, ou sobrescreveria em conflito, mais linhas de um lado do que os dois "
    + "limites; `off` nunca retém: veja [o freio](docs/operating.md#the-brake)",
  SYNC_VERIFY_BUDGET:
    "bytes por dia que [a prova contínua](docs/operating.md#the-rolling-proof) pode tirar dos dois bancos, como `500 kB` ou "
    + "`1 GB`; `off` não prova nada sozinho",
  SYNC_VERIFY_REPAIR: "`true`: o que a prova contínua acha diferente é igualado pela regra de conflitos",
  SYNC_HTTP_PORT:
    "a porta do [painel](docs/operating.md#the-dashboard) e das [medidas](docs/operating.md#measures), de 1 a 65535",
  SYNC_HTTP_HOST: "onde ele escuta; qualquer endereço que outros alcancem, como `0.0.0.0`, exige `SYNC_HTTP_TOKEN`",
  SYNC_HTTP_TOKEN:
    "o que quem pergunta precisa mostrar: um segredo de 16 caracteres ou mais, como o que `openssl rand -hex 32` imprime",
  SYNC_NOTIFY_URL: "um webhook ao qual o serviço conta o que uma pessoa deve saber, cada coisa uma vez: veja "
    + "[avisos](docs/operating.md#telling); um segredo, `https`",
  SYNC_NOTIFY_FORMAT: "`json`, `slack` ou `discord`, onde o host de `SYNC_NOTIFY_URL` não o diz",
  OTEL_EXPORTER_OTLP_ENDPOINT:
    "um coletor OpenTelemetry, como `http://collector:4318`: veja [rastros](docs/operating.md#traces)",
  OTEL_EXPORTER_OTLP_HEADERS: "o que ele quer receber junto, como `api-key=secret`",
  OTEL_EXPORTER_OTLP_PROTOCOL: "ou `http/json`",
  OTEL_SERVICE_NAME: "como o serviço se chama lá",
  EXTERNAL_CAPTURE: "`timestamp`: [nada é instalado no banco externo](docs/nothing-installed.md)",
  EXTERNAL_WINDOW:
    "com `timestamp`: quanto uma transação no externo pode levar desde que põe as datas até o commit; maior que 0, no máximo "
    + "7 dias",
  EXTERNAL_SWEEP_EVERY:
    "com `timestamp`: de quanto em quanto tempo as chaves são comparadas para achar exclusões, como `1 hour`; `0` é a cada "
    + "ciclo"
}

/** Words of `Variable.unset`. */
export const unsetInPortuguese: Readonly<Record<string, string>> = {
  required: "obrigatória",
  nothing: "nada",
  off: "desligado",
  none: "nenhum",
  "by the host": "pelo host"
}
