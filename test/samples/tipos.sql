-- A column of each built-in type that an app may have, with values that programs get wrong. The editor mixes them.

create type public.cor as enum ('azul', 'Verde claro', 'vermelho');
create type public.endereco as (rua text, numero integer, cep char(8));
create domain public.positivo as integer check (value > 0);
create domain public.nomes as text[] check (array_length(value, 1) < 10);

create table public.tipos (
  id bigint generated always as identity primary key,
  inteiro integer,
  grande bigint,
  pequeno smallint,
  valor numeric,
  dinheiro numeric(12,2),
  real4 real,
  real8 double precision,
  sim boolean,
  texto text,
  curto varchar(12),
  fixo char(5),
  binario bytea,
  dia date,
  hora time,
  hora_fuso timetz,
  momento timestamptz,
  ingenuo timestamp,
  intervalo interval,
  documento json,
  documento_b jsonb,
  identidade uuid,
  bits bit(8),
  bits_livres bit varying(20),
  rede inet,
  faixa_rede cidr,
  mac macaddr,
  ponto point,
  caixa box,
  poligono polygon,
  busca tsvector,
  consulta tsquery,
  faixa int4range,
  periodo tstzrange,
  faixas nummultirange,
  cor public.cor,
  endereco public.endereco,
  enderecos public.endereco[],
  cores public.cor[],
  positivo public.positivo,
  nomes public.nomes,
  listas integer[][],
  lsn pg_lsn,
  oid_ oid,
  marcacao xml,
  caminho_json jsonpath,
  moeda money,
  atualizado_em timestamptz
);
insert into public.tipos (inteiro, grande, pequeno, valor, dinheiro, real4, real8, sim, texto, curto, fixo, binario, dia, hora,
  hora_fuso, momento, ingenuo, intervalo, documento, documento_b, identidade, bits, bits_livres, rede, faixa_rede, mac, ponto, caixa,
  poligono, busca, consulta, faixa, periodo, faixas, cor, endereco, enderecos, cores, positivo, nomes, listas, lsn, oid_, marcacao,
  caminho_json, moeda, atualizado_em)
values
  (2147483647, 9223372036854775807, -32768, 'NaN', 9999999999.99, 'NaN', '-Infinity', true, E'a\tb\nc\\d\r', 'ção', 'ab', '\x00ff5c0a',
   'infinity', '24:00', '23:59:59.999999+14', 'infinity', '-infinity', '-1 years 2 mons -3 days 04:05:06.000007', '{"b": 1.0, "a": 1,  "a": 2}',
   'null', '00000000-0000-0000-0000-000000000000', B'10101010', B'', '::1', '10.0.0.0/8', '08:00:2b:01:02:03', '(0.1,1e300)',
   '((1,1),(0,0))', '((0,0),(1,1),(1,0))', '''com espaço'':1A,2 ''aspas''''x'':3', '''gato'' & !''rato''', '[1,)', '[2024-01-01,infinity]',
   '{[1.5,2),(3,NaN]}', 'Verde claro', '("Rua ""X"", 1\\",7,01310100)', array[row('a,b', null, null)::public.endereco, null], '{azul,NULL,"Verde claro"}',
   1, '[0:1]={a,NULL}', '[5:6][2:3]={{1,2},{3,NULL}}', '16/B374D848', 4294967295, '<a>ção &amp; <b/></a>', '$."a"[*] ? (@ > 1)', '-92233720368547758.08', '2024-01-01 00:00:00.000001+00'),
  (-2147483648, -9223372036854775808, 32767, '-Infinity', -0.01, '-0', '4.9406564584124654e-324', false, '', '', '', '', '-infinity', '00:00:00.000001',
   '00:00:00-15:59', '-infinity', 'infinity', '178000000 years', '  null ', '{"a": [1, 1.0, 1.50, "\u00e9", null]}',
   'ffffffff-ffff-ffff-ffff-ffffffffffff', B'00000000', B'1', '10.1.2.3/24', '::/0', 'ff:ff:ff:ff:ff:ff', '(NaN,-0)', '((-1,-1),(-2,-2))', '((0,0))', '', '',
   'empty', '(,)', '{}', 'azul', '(,,)', '{}', '{}', 2147483647, '{}', '{}', '0/0', 0, 'solto <i>x</i>', 'strict $.a', '0', '-infinity'),
  (0, 0, 0, '1234567890123456789012345678901234567890.000100', 0, 1.1754944e-38, 0.1, null, 'NULL', '\N', '\.', '\x5c2e0a', '4713-01-01 BC', '12:00',
   '12:00+00', '4713-01-01 00:00:00+00 BC', '294276-12-31 23:59:59.999999', '00:00:00.000001', '"texto só"', '"texto só"',
   'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', B'11111111', B'01010101010101010101', '192.168.0.1', '192.168.1.0/24', '00:00:00:00:00:00', '(1,2)',
   '((1,2),(3,4))', '((0,0),(1,1),(1,0))', 'a:1', 'a', '[1,5)', '[2024-01-01 00:00:00.000001+00,)', '{[1,2)}', null, '("","0",)', '{"(x,1,)"}', '{vermelho}', 7,
   '{ção,"a b"}', '{{1}}', 'FFFFFFFF/FFFFFFFF', 1, '<?x y?><a/>', '$', '1234.56', null);
insert into public.tipos (texto) select 'só texto ' || n from generate_series(1, 20) n;
insert into public.tipos (texto, binario) values (repeat('ção 😀 \ ', 200000), decode(repeat('00ff5c', 100000), 'hex'));

-- Keys of types whose text depends on settings of the session, or whose equality is not that of the text.
create table public.chaves (
  momento timestamptz,
  valor numeric,
  dado bytea,
  nome char(6),
  real8 double precision,
  intervalo interval,
  observacao text,
  primary key (momento, valor, dado, nome, real8, intervalo)
);
insert into public.chaves
select timestamptz '2024-03-10 02:30:00.000001-03' + n * interval '1 day', n / 7.0, decode(lpad(to_hex(n), 4, '0'), 'hex'), 'k' || n,
  0.1 * n, n * interval '1 hour', 'linha ' || n
from generate_series(0, 30) n;
insert into public.chaves values ('infinity', 'NaN', '', '', '-Infinity', '1 mon', 'estranha'), ('-infinity', '-Infinity', '\x5c', '\N', 'NaN', '-1 mon', 'mais');

-- Unique in other ways than a plain column: in part, by an expression, over several, and what excludes.
create table public.reservas (
  id uuid primary key,
  sala integer,
  quem text not null,
  codigo text,
  de date not null,
  ate date not null,
  cancelada boolean not null default false,
  unique (sala, de) deferrable initially deferred,
  check (de <= ate)
);
create unique index reservas_codigo on public.reservas (codigo) where not cancelada;
create unique index reservas_quem on public.reservas (lower(quem), sala);
insert into public.reservas
select md5('r' || n)::uuid, n % 5, 'Hóspede ' || n, 'C' || n, date '2024-01-01' + n, date '2024-01-03' + n, n % 6 = 0
from generate_series(1, 40) n;

create table public.agenda (
  id uuid primary key,
  minutos int4range not null,
  exclude using gist (minutos with &&)
);
insert into public.agenda select md5('a' || n)::uuid, int4range(n * 500, n * 500 + 60) from generate_series(1, 30) n;

-- A table that points at itself, in chains that are longer than a batch is at first.
create table public.pessoas (
  id integer primary key,
  chefe integer references public.pessoas on delete set null,
  padrinho integer references public.pessoas,
  nome text
);
insert into public.pessoas select n, nullif(n - 1, 0), case when n % 3 = 0 then 701 - n end, 'Pessoa ' || n from generate_series(1, 700) n;

-- Tables that point at each other: no row of either can come first, unless a column is filled afterwards.
create table public.times (
  id integer primary key,
  nome text not null,
  capitao integer
);
create table public.jogadores (
  id integer primary key,
  time_id integer not null references public.times on delete cascade,
  padrinho integer references public.jogadores on delete set null,
  nome text
);
alter table public.times add foreign key (capitao) references public.jogadores on delete set null;
insert into public.times (id, nome) select n, 'Time ' || n from generate_series(1, 15) n;
insert into public.jogadores select n, n % 15 + 1, nullif(n - 1, 0), 'Jogador ' || n from generate_series(1, 150) n;
update public.times set capitao = 15 + id;
