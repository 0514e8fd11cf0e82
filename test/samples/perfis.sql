-- Tables of profiles as apps have them: each schema is one app's. They differ in everything that matters to a sync: keys,
-- stamps, checks, generated columns, triggers. Two of one name in different schemas are part of it.

-- The older system's own: a text key, everything nullable, stamps that nobody sets.
create table public.perfis (
  id varchar(255) primary key,
  full_name varchar(255),
  name_user varchar(255),
  email varchar(255),
  tipo_conta varchar(100),
  avatar_url text,
  created_at timestamptz,
  updated_at timestamptz,
  id_usuario varchar(50)
);
insert into public.perfis
select md5(n::text), 'Pessoa ' || n, 'pessoa.' || n, 'pessoa.' || n || '@escola.example', (array['Professor', 'Aluno', null])[n % 3 + 1],
  case when n % 7 = 0 then repeat('data:image/png;base64,', 2000) end, timestamptz '2024-01-01' + n * interval '1 hour',
  case when n % 4 <> 0 then timestamptz '2024-05-01' + n * interval '1 hour 1 microsecond' end, 'u' || n
from generate_series(1, 60) n;

-- Two unique columns, a list of what is allowed, and a trigger that overwrites updated_at on every update.
create schema cadastro;
create table cadastro.perfis (
  id uuid primary key default gen_random_uuid(),
  nome_completo varchar(255) not null,
  nome_usuario varchar(100) not null unique,
  email varchar(255) not null unique,
  tipo_conta varchar(50) not null check (tipo_conta in ('professor', 'aluno', 'instituição')),
  pais varchar(100) not null default 'Brasil',
  powers_carteira integer not null default 250,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
create function cadastro.update_perfis_updated_at() returns trigger language plpgsql as $$
begin
  new.updated_at = now();
  return new;
end
$$;
create trigger update_perfis_updated_at before update on cadastro.perfis
  for each row execute function cadastro.update_perfis_updated_at();
insert into cadastro.perfis (id, nome_completo, nome_usuario, email, tipo_conta)
select md5('cadastro' || n)::uuid, 'João d''Ávila ' || n, 'joao' || n, 'joao' || n || '@exemplo.com.br',
  (array['professor', 'aluno', 'instituição'])[n % 3 + 1]
from generate_series(1, 50) n;

-- A generated column, checks by regular expression, a unique index on an expression, and no stamp at all.
create schema jogo;
create function jogo.hoje() returns date language sql stable as $$ select (now() at time zone 'America/Recife')::date $$;
create table jogo.perfis (
  id uuid primary key,
  apelido text not null check (length(apelido) between 1 and 60),
  apelido_busca text generated always as (lower(apelido)) stored,
  instagram text check (instagram ~ '^[A-Za-z0-9_.]{1,30}$'),
  telefone text check (telefone ~ '^[0-9]{10,11}$'),
  nivel integer not null default 1,
  saldo numeric(8,2) not null default 0 check (saldo >= 0),
  desde date not null default jogo.hoje(),
  criado_em timestamptz not null default now()
);
create unique index perfis_instagram on jogo.perfis (lower(instagram));
insert into jogo.perfis (id, apelido, instagram, telefone, saldo, desde, criado_em)
select md5('jogo' || n)::uuid, 'Ás ' || n, 'As.' || n, case when n % 3 > 0 then '8199' || lpad(n::text, 7, '0') end, n * 1.25, '2024-02-29',
  '2024-02-29 23:59:59.999999-03'
from generate_series(1, 40) n;

-- atualizado_em, ranges, documents that are checked, and children whose keys begin with their parent's.
create schema academia;
create table academia.perfis (
  id uuid primary key,
  nome text not null,
  peso numeric(5,1) check (peso > 0),
  altura smallint check (altura between 50 and 260),
  medidas jsonb not null default '{}' check (jsonb_typeof(medidas) = 'object'),
  preferencias json,
  criado_em timestamptz not null default now(),
  atualizado_em timestamptz not null default now()
);
create table academia.sessoes (
  usuario_id uuid not null references academia.perfis on delete cascade,
  sessao_id integer not null,
  dia date not null,
  atualizado_em timestamptz not null default now(),
  primary key (usuario_id, sessao_id)
);
create table academia.series (
  usuario_id uuid not null,
  sessao_id integer not null,
  ordem smallint not null,
  exercicio text not null,
  cargas numeric(6,2)[] not null default '{}',
  primary key (usuario_id, sessao_id, ordem),
  foreign key (usuario_id, sessao_id) references academia.sessoes on update cascade on delete cascade
);
insert into academia.perfis (id, nome, peso, altura, medidas, preferencias)
select md5('academia' || n)::uuid, 'Atleta ' || n, 50 + n / 10.0, 150 + n, jsonb_build_object('cintura', n, 'à', null), '{"b": 1.0, "a": 1,  "a": 2}'
from generate_series(1, 30) n;
insert into academia.sessoes (usuario_id, sessao_id, dia)
select id, s, date '2024-03-01' + s from academia.perfis, generate_series(1, 4) s;
insert into academia.series
select usuario_id, sessao_id, o, 'Supino ' || o, array[o, o + 0.5] from academia.sessoes, generate_series(1, 3) o;

-- An enum, a document's number with leading zeros, and a join table that is nothing but its key.
create schema frota;
create type frota.papel as enum ('admin', 'motorista', 'Gestor de Frota');
create table frota.perfis (
  id uuid primary key default gen_random_uuid(),
  nome text not null,
  cpf char(11) not null unique check (cpf ~ '^[0-9]{11}$'),
  papel frota.papel not null default 'motorista',
  ativo boolean not null default true,
  updated_at timestamptz not null default timezone('utc', now())
);
create table frota.grupos (
  id integer generated by default as identity primary key,
  nome text not null,
  superior integer references frota.grupos on delete set null deferrable initially deferred
);
create table frota.perfis_grupos (
  perfil_id uuid references frota.perfis on delete cascade,
  grupo_id integer references frota.grupos,
  primary key (perfil_id, grupo_id)
);
insert into frota.perfis (id, nome, cpf, papel)
select md5('frota' || n)::uuid, 'Motorista ' || n, lpad((n * 7919)::text, 11, '0'), (array['admin', 'motorista', 'Gestor de Frota'])[n % 3 + 1]::frota.papel
from generate_series(1, 40) n;
insert into frota.grupos (nome, superior) select 'Grupo ' || n, nullif(n / 2, 0) from generate_series(1, 12) n;
insert into frota.perfis_grupos select id, g from frota.perfis, generate_series(1, 12) g where hashtext(id::text || g) % 4 = 0;

-- A key that people write by hand, in letters of all kinds, and a list as a document.
create schema texto;
create table texto.perfis (
  codigo text primary key,
  nome text,
  editaveis jsonb default '[]',
  criado_em timestamptz default now()
);
insert into texto.perfis (codigo, nome, editaveis)
select (array['ção', 'Ção', 'a b', 'a,b', '"x"', 'tab	', 'back\slash', '😀', 'é', 'É', ' ', 'null'])[n], 'Perfil ' || n, '["nome", null]'
from generate_series(1, 12) n;

-- Stamps without a time zone, and names that must be quoted.
create schema "Galeria de Arte";
create table "Galeria de Arte"."Profiles" (
  "id" uuid primary key,
  "userName" text unique,
  "web site" text,
  created_at timestamp not null default now(),
  updated_at timestamp
);
insert into "Galeria de Arte"."Profiles"
select md5('galeria' || n)::uuid, 'user' || n, 'https://x.example/?q=' || n, '2024-01-01 12:00:00.123456',
  (array['2024-01-02 00:00:00.000001'::timestamp, null, 'infinity', '-infinity'])[n % 4 + 1]
from generate_series(1, 30) n;
