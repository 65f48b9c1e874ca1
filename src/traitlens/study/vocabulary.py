"""Words in several languages by which columns, files, sheets and folders are recognised."""

import re
import unicodedata


def fold_name(name: str) -> str:
    """Return a name in lower case, without accents, spaces and punctuation other than points.

    Points are kept because experiment software separates the parts of column names by them.

    Parameters
    ----------
    name : str
        Name of a column, file or sheet.

    Examples
    --------
    >>> fold_name("Âge (years)"), fold_name("slider.response")
    ('ageyears', 'slider.response')
    """
    letters = unicodedata.normalize("NFKD", str(name).casefold())
    return re.sub(r"[^\w.]|_", "", "".join(one for one in letters if not unicodedata.combining(one)))


def drop_unit(name: str) -> str:
    """Return a column name without a unit or explanation in brackets at its end, unless nothing is left.

    Examples
    --------
    >>> drop_unit("age (years)"), drop_unit("RT [ms]"), drop_unit("(id)")
    ('age', 'RT', '(id)')
    """
    return re.sub(r"\s*[\[(][^\[\]()]*[\])]\s*$", "", str(name)) or str(name)


def name_words(name: str) -> list[str]:
    """Split a name into words, in lower case and without accents and digits.

    Parameters
    ----------
    name : str
        Name of a column, file or sheet.

    Returns
    -------
    list of str
        The words, as returned by :func:`fold_name`.

    Examples
    --------
    >>> name_words("ratings_Männer2.csv")
    ['ratings', 'manner', 'csv']
    """
    return [fold_name(word) for word in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", str(name)))]


def _fold_words(*lists: str) -> frozenset[str]:
    """Return the words of several strings, as returned by :func:`fold_name`."""
    return frozenset(fold_name(word) for text in lists for word in text.split())


SYNONYMS: dict[str, tuple[str, ...]] = {
    word: tuple(dict.fromkeys(fold_name(name) for name in names.split()))
    for word, names in {
        "rater": "rater raterid participant participantid participantprivateid participantpublicid "
        "subject subjectid sub subj responseid respondent prolificid prolificpid workerid userid runid vp "
        "versuchsperson proband teilnehmer juge observateur raternr subjectnr participantnr "
        "participantnumber vpnr vpcode bewerter beurteiler sujet participante sujeto evaluador "
        "evaluateur évaluateur noteur cotateur partecipante soggetto valutatore proefpersoon deelnemer "
        "beoordelaar sujeito avaliador uczestnik "
        "badany deltagare deltager bedömare bedømmer osallistuja arvioija účastník hodnotitel "
        "résztvevő értékelő "
        "συμμετέχων katılımcı değerlendirici ผู้เข้าร่วม משתתף נבדק מעריך مشارك 참가자 평가자 "
        "участник испытуемый респондент 参加者 被験者 評価者 参与者 被试 评分者 case code pid id",
        "group": "group condition diagnosis cohort population sample ratergroup gruppe groupe grupo "
        "diagnose gruppo groep grupa grupp gruppe ryhmä skupina csoport ομάδα grup grubu קבוצה مجموعة "
        "집단 그룹 diagnostic diagnostico diagnosi группа 群 グループ 组 组别",
        "trait": "trait attribute question item scale dimension adjective judgment judgement eigenschaft "
        "merkmal frage rasgo atributo pregunta tratto domanda caratteristica kenmerk vraag cecha черта "
        "вопрос 特性 質問 項目 特质 问题",
        "rating": "rating ratings response score value answer judgment judgement slider.response "
        "ratingresponse urteil bewertung antwort évaluation jugement réponse calificación puntuación "
        "respuesta valoración valutazione risposta punteggio giudizio beoordeling oordeel antwoord "
        "avaliação resposta ocena odpowiedź note skattning betyg vurdering svar arvio hodnocení értékelés "
        "βαθμολογία puan derecelendirme דירוג تقييم 평점 평가 응답 оценка ответ рейтинг 評価 評定 評点 "
        "回答 评分 评价",
        "image": "image stimulus face picture img file imagefile stim photo spreadsheetimage faceimage "
        "bild gesicht foto visage imagen imagename filename stimulusname stimfile imageid imagenr faceid "
        "facename stimulusid stimid pictureid photoid bildname dateiname reiz immagine volto viso gezicht "
        "afbeelding imagem rosto cara rostro fotografia estimulo zdjęcie twarz ansikte ansikt bilde "
        "billede kuva kasvot obrázek tvář kép εικόνα πρόσωπο görsel "
        "resim yüz fotoğraf תמונה פנים صورة 이미지 얼굴 사진 изображение фото лицо "
        "стимул 画像 写真 顔 刺激 图片 照片 面孔",
        "repeat": "repeat repetition session wiederholung repetición ripetizione herhaling powtórzenie",
        "time": "rt reactiontime responsetime latency rtms slider.rt ratingrt reaktionszeit antwortzeit "
        "latenz temps tempsdereponse tempsdereaction tiempo tiempodereaccion tempodireazione reactietijd "
        "czasreakcji время времяреакции 反応時間 反应时",
        "kind of row": "trialtype zonetype responsetype componentname screenname display task phase part",
    }.items()
}
"""Names of columns, in the order of preference, as written by experiment software (jsPsych, Gorilla,
Qualtrics, PsychoPy) and by researchers."""

ENDINGS = {"rating": (".response", ".keys", ".resp"), "time": (".rt",)}
"""Endings of column names that begin with the name of a slider, in PsychoPy and E-Prime."""

NO_RATINGS = _fold_words(
    "rank rang age alter trial trialnumber trialno trialindex triali trialcount timeelapsed block "
    "blocknumber "
    "session run row rowid rownumber index order position number nr no progress duration "
    "durationinseconds finished status date time timestamp year sex gender education attempt correct "
    "eventindex trialorder presentationorder displayorder do",
    "lebensalter âge edad età leeftijd idade wiek возраст 年齢 年龄 durchgang versuch essai ensayo prueba "
    "prova 试次 試行 reihenfolge ordre orden ordine volgorde ordem bloc bloque blok geschlecht sexe sexo "
    "sesso geslacht płeć пол 性別 性别 jahr année año anno dauer durée duración durata nummer numéro "
    "número numero",
)
"""Names of numeric columns that describe a trial, a rater or the export, and do not contain ratings."""

NO_RATING_ENDINGS = tuple(
    str.split(
        ".rt .thisn .thisrepn .thistrialn .thisindex .started .stopped firstclick lastclick pagesubmit "
        "clickcount complete"
    )
)
"""Endings of the names of numeric columns that do not contain ratings."""

TRIAL_WORDS = _fold_words(
    "time rt latency elapsed timestamp onset duration mouse framerate fps screen window"
)
"""Words in the names of columns that describe a trial, as in time_run or mouse_x."""

RATER_ENDINGS = r"\.?(?:code|id|nr|no|number|num|name|label)$"
"""Endings of the names of columns that identify raters, as in subject_code."""

NO_TRAITS = frozenset(str.split("rt time latency order do index firstclick lastclick pagesubmit clickcount"))
"""Endings that follow the name of an image in a column name but are not traits, such as "rt"."""

SUMMARIES = _fold_words(
    "mean average avg median sd std sum total",
    "mittel mittelwert durchschnitt standardabweichung summe moyenne médiane écarttype somme promedio "
    "media mediana desviación suma somma gemiddelde standaarddeviatie mediaan średnia среднее 平均 平均値 "
    "標準偏差 合計",
)
"""Names of rows and columns that summarise the raters."""

SPREADS = frozenset(("sd", "std", "stdev", "se", "sem", "var", "n", "ci", "rank", "percentile"))
"""Words in the names of columns with the spread or number of a trait's ratings, such as warm_sd."""

GROUP_WORDS = _fold_words(
    "group groups autistic autistics autism asd asc td nt nts neurotypical neurotypicals nonautistic "
    "asperger aspergers control controls patient patients clinical healthy hc adhd schizophrenia "
    "schizophrenic schizo male female males females men women man woman young old younger older adults "
    "children students experts novices",
    "gruppe gruppen autisten autismus autistisch ass kontrolle kontrollen kontrollgruppe patienten gesunde "
    "frauen männer maenner frau mann weiblich männlich maennlich kinder erwachsene",
    "groupe groupes autistes autisme tsa témoin témoins contrôle contrôles hommes femmes homme femme enfants",
    "grupo grupos autistas autismo tea controles mujeres hombres mujer hombre pacientes mulheres homens "
    "gruppo gruppi autistici controlli donne uomini pazienti groep groepen vrouwen mannen grupa kobiety "
    "mężczyźni группа мужчины женщины 自閉症 定型 定型発達 男性 女性 自闭症 对照组",
)
"""Words in the names of files and sheets that denote groups of raters."""

PLAIN_WORDS = _fold_words(
    "data daten sheet tabelle table tab feuil feuille hoja blad foglio more other new old raw clean "
    "cleaned copy final export ratings rating results responses antworten backup test pilot part version "
    "v main all export1 wave session day kopie copie copia ergebnisse résultats resultados datos données"
)
"""Words in the names of files and sheets that do not denote traits."""

_TRAIT_STEMS = tuple(
    _fold_words(
        "attract beaut handsome pretty warm strong strength trust untrust domin submiss compet incompet "
        "intell smart kind unkind mean aggress caring confiden emotional emostab emotstab stable "
        "responsib sociab happ unhapp weird friend likab likeab sympath critical practical youth honest "
        "dishonest sincer arrogan humbl extraver extrover introver agreeab conscient neurotic open calm "
        "anxi nervous angry anger sad fear disgust surpris threat approach memorab typical distinctiv "
        "familiar mascul femin babyface matur health sexy sexiness cute lazy hardwork ambiti loyal rich "
        "wealth poor status liberal conservativ religi interesting boring funny serious energetic tired "
        "egot egoist selfish generous creativ rational leader cooperat rude polite reliab independ brave "
        "cruel nice evil proud hostil smug outgoing groomed young old good bad",
        "attrakt herzlich stark stärke vertrau kompet freundlich sympathisch aggress schön hübsch klug "
        "nett wärme dominan männlich weiblich gesund glücklich ehrlich selbstbewusst",
        "attir chaleur fort force fiab confian agréab gentil agress beau belle content honnête",
        "atract cálid calid fuerte amable agres inteligen simpátic confiable feliz guap bell "
        "attraent affidab caldo forte gentile simpatic felice aantrekkelijk betrouwba sterk vriendelijk",
    )
)
"""Beginnings of names of traits of faces, in several languages."""


def is_trait_name(name: str) -> bool:
    """Return whether the name of a file, sheet or column contains a common trait of faces.

    Returns
    -------
    bool
        True for common traits; False for rare traits, which cannot be told apart from other names.

    Examples
    --------
    >>> is_trait_name("warm_ratings"), is_trait_name("Trustworthiness"), is_trait_name("Anna")
    (True, True, False)
    """
    return any(
        word == stem or (len(stem) > 3 and word.startswith(stem))
        for word in name_words(name)
        for stem in _TRAIT_STEMS
    )


NO_ANSWER = re.compile(
    r"(?i)missing|no answer|not answered|no response|unanswered|refus|don'?t know|not applicable|"
    r"prefer not|skipped|no opinion|\bn/?a\b|"
    r"keine angabe|wei(ß|ss) nicht|verweiger|nicht beantwortet|fehlend|trifft nicht zu|"
    r"sans r[ée]ponse|ne sait pas|pas de r[ée]ponse|manquant|\bnsp\b|"
    r"no sabe|no contesta|sin respuesta|no aplica|perdido|\bns ?/ ?nc\b|"
    r"non so\b|non risponde|nessuna risposta|mancante|weet niet|geen antwoord|"
    r"n[ãa]o sab|n[ãa]o respond|sem resposta|nie wiem|brak odpowiedzi|odmow|"
    r"не знаю|нет ответа|затрудня|отказ|無回答|わからない|該当なし|不知道|拒答|无回答"
)
"""Value labels that mean that no rating was given."""

KINDS = _fold_words(
    "f m w b a l o h female male women men woman man girl girls boy boys wf wm bf bm af am lf lm mf "
    "mm if im asian black white latino latina indian mixed young old adult child children front "
    "frontal frauen männer weiblich männlich hommes femmes mujeres hombres donne uomini vrouwen mannen"
)
"""Words that denote kinds of people, and so do not distinguish images of one person."""

CONDITIONS = _fold_words(
    "happy sad angry anger fear fearful afraid neutral disgust disgusted surprise surprised smile "
    "smiling open closed left right profile happiness sadness natural edited original "
    "morphed set1 set2 day1 day2 train test",
    "froh fröhlich glücklich traurig wütend ängstlich ekel überrascht lächelnd links rechts joyeux triste "
    "colère peur neutre dégoût sourire gauche droite feliz alegre enojado miedo asco sonriente neutro "
    "felice arrabbiato paura disgusto blij verdrietig boos bang neutraal",
)
"""Words that distinguish images of one person."""

IMAGE_FOLDERS = _fold_words("images photos faces stimuli stim pictures bilder fotos gesichter visages")
"""Names of folders that contain all images."""
